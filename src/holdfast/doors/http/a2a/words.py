"""The protocol's own words, as far as they are spoken here: version 1.0, in its JSON form."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

EXTENSION_ONCE = "urn:holdfast:a2a:once"
"""Named in `A2A-Extensions`: a message whose id came before is the same message."""


class State(StrEnum):
    """How a task is, as the protocol has it."""

    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    REJECTED = "TASK_STATE_REJECTED"
    AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"


TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELED, State.REJECTED})
INTERRUPTED = frozenset({State.INPUT_REQUIRED, State.AUTH_REQUIRED})


class Word(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Whatever is said: what is left out has its default, what is not known is left alone."""


class Part(Word, frozen=True, kw_only=True):
    """Text, bytes, an address or values: exactly one of them."""

    text: str | UnsetType = UNSET
    raw: bytes | UnsetType = UNSET
    url: str | UnsetType = UNSET
    data: Any = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    filename: str = ""
    media_type: str = ""


class Message(Word, frozen=True, kw_only=True):
    """One turn of the conversation."""

    message_id: str = ""
    context_id: str = ""
    task_id: str = ""
    role: Literal["ROLE_USER", "ROLE_AGENT", "ROLE_UNSPECIFIED"] = "ROLE_UNSPECIFIED"
    parts: tuple[Part, ...] = ()
    metadata: dict[str, Any] | UnsetType = UNSET
    extensions: tuple[str, ...] = ()
    reference_task_ids: tuple[str, ...] = ()


class Artifact(Word, frozen=True, kw_only=True):
    """Something that a task has made."""

    artifact_id: str
    name: str = ""
    description: str = ""
    parts: tuple[Part, ...] = ()
    metadata: dict[str, Any] | UnsetType = UNSET


class TaskStatus(Word, frozen=True, kw_only=True):
    """How a task is, since when, and what is to be said about it."""

    state: State
    message: Message | UnsetType = UNSET
    timestamp: str = ""


class Task(Word, frozen=True, kw_only=True):
    """One task."""

    id: str
    context_id: str
    status: TaskStatus
    artifacts: tuple[Artifact, ...] = ()
    history: tuple[Message, ...] = ()
    metadata: dict[str, Any] | UnsetType = UNSET


class StatusUpdate(Word, frozen=True, kw_only=True):
    """The task is something else now."""

    task_id: str
    context_id: str
    status: TaskStatus
    metadata: dict[str, Any] | UnsetType = UNSET


class ArtifactUpdate(Word, frozen=True, kw_only=True):
    """A piece of something that a task makes; without `append` it takes the place of what was."""

    task_id: str
    context_id: str
    artifact: Artifact
    append: bool = False
    last_chunk: bool = False
    metadata: dict[str, Any] | UnsetType = UNSET


class Told(Word, frozen=True, kw_only=True):
    """One thing that is told: exactly one of these."""

    task: Task | UnsetType = UNSET
    message: Message | UnsetType = UNSET
    status_update: StatusUpdate | UnsetType = UNSET
    artifact_update: ArtifactUpdate | UnsetType = UNSET


class Authentication(Word, frozen=True, kw_only=True):
    """How whoever is told wants to be sure who tells it."""

    scheme: str = ""
    credentials: str = ""


class PushConfig(Word, frozen=True, kw_only=True):
    """Where to tell what happens to a task."""

    tenant: str = ""
    id: str = ""
    task_id: str = ""
    url: str = ""
    token: str = ""
    authentication: Authentication | UnsetType = UNSET


class Configuration(Word, frozen=True, kw_only=True):
    """How a message is to be answered."""

    accepted_output_modes: tuple[str, ...] = ()
    task_push_notification_config: PushConfig | UnsetType = UNSET
    history_length: int | UnsetType = UNSET
    return_immediately: bool = False


class Sending(Word, frozen=True, kw_only=True):
    """A message, and how it is to be answered."""

    message: Message
    configuration: Configuration = Configuration()
    metadata: dict[str, Any] | UnsetType = UNSET


class OneTask(Word, frozen=True, kw_only=True):
    """A task by its id."""

    id: str
    history_length: int | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class Listing(Word, frozen=True, kw_only=True):
    """Which tasks to list."""

    context_id: str = ""
    status: str = ""
    page_size: int = 50
    page_token: str = ""
    history_length: int | UnsetType = UNSET
    status_timestamp_after: str = ""
    include_artifacts: bool = False


class Listed(Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of tasks, the one that moved last first."""

    tasks: tuple[Task, ...]
    next_page_token: str
    page_size: int
    total_size: int


class OnePush(Word, frozen=True, kw_only=True):
    """One place to tell about one task."""

    task_id: str
    id: str


class Pushes(Word, frozen=True, kw_only=True):
    """The places of one task."""

    task_id: str
    page_size: int = 0
    page_token: str = ""


class PushesListed(Struct, frozen=True, kw_only=True, rename="camel"):
    """Every place that is told about a task."""

    configs: tuple[PushConfig, ...]
    next_page_token: str = ""


class Nothing(Word, frozen=True, kw_only=True):
    """No parameters."""
