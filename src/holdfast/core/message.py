"""What is said in a task: by people, by the model, by tools, by the house."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from .ids import CallId, digest


class EffectClass(StrEnum):
    """A tool's word about itself: what a second run would do to the world."""

    READS = "reads"
    REPEATABLE = "repeatable"
    WRITES = "writes"


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one model call used. Tokens; `cost` in micro-dollars, None when no price is known.

    `saved`: how much dearer it would have been without reading from a cache.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cost: int | None = None
    saved: int = 0

    @property
    def tokens(self) -> int:
        return self.input + self.output


class Try(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try of one model call: which model, after how long and for how long, and what came of it.

    `code` is empty for the try that answered, a model code for one that failed, `skipped` for a
    model that was not asked; `reason` says why. `after` (since the call began), `took` and `first`
    (until the first piece came) in milliseconds. `next` is what was done about a failure: `retry`,
    `failover` or `give up`.
    """

    model: str
    code: str = ""
    reason: str = ""
    after: int = 0
    took: int = 0
    first: int = 0
    next: str = ""


class File(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something shown beside words: its bytes are the blob `digest`; `size` in bytes."""

    name: str
    media_type: str
    digest: str
    size: int = 0


class Thought(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of the model's thinking; the signature lets its provider check it later."""

    text: str
    signature: str = ""
    provider: str = ""


class ToolCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool call that a model (or the house) proposes.

    `target` is what policy looks at: a path below the workspace, or a command line; `also` are
    the other paths that the call touches; `names_paths` if they are paths at all. `problem` says
    why the call cannot run at all (no such tool, bad arguments). `signature` is the provider's own
    and goes back to it unread. `source` is where what it answers comes from, empty for the house;
    `aims` are the arguments that decide what it does beyond the box, and `labels`, sorted, what is
    known of where these come from.
    """

    id: CallId
    tool: str
    arguments: dict[str, Any]
    effect: EffectClass = EffectClass.WRITES
    target: str = ""
    also: tuple[str, ...] = ()
    names_paths: bool = False
    problem: str = ""
    checkable: bool = False
    stable: bool = False
    signature: str = ""
    source: str = ""
    aims: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Equal for calls that ask for the same thing: tool and canonical arguments."""
        return digest([self.tool, self.arguments])


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file as it was before a tool touched it: SHA-256 of its content, None if absent."""

    path: str
    before: str | None = None
    mode: int = 0o644


class Returned(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="returned"):
    """The tool did its work. `artifact` names the file with the whole output if it was cut.

    `structured`: what stands between the first and the last brace is JSON, fields of the tool.
    `apart`: the words are the house's own; what the tool said is kept where no model sees it.
    `sources`: who had a word in it besides the call's own source, as the hosts of redirects.
    """

    text: str
    artifact: str = ""
    reused: bool = False
    structured: bool = False
    apart: bool = False
    sources: tuple[str, ...] = ()


class Failed(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="failed"):
    """The tool ran, or tried to, and failed."""

    text: str
    code: str = "error"
    artifact: str = ""
    apart: bool = False
    sources: tuple[str, ...] = ()


class Refused(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="refused"):
    """The call was not run: policy, a human, a limit or a cancellation said no."""

    reason: str
    rule: str = ""


class Unknown(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="unknown"):
    """The call was cut off and may or may not have happened. It is not repeated."""

    reason: str


Outcome = Returned | Failed | Refused | Unknown


class Reply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One whole answer of a model. `finish` is stop, calls or length; `tried` led to it, in order.

    `problem` says why the answer has not the wanted shape. `logprobs` says of each token of
    `text` how likely it was, where that was wished for, in OpenAI's words.
    """

    text: str = ""
    thoughts: tuple[Thought, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    model: str = ""
    finish: str = "stop"
    tried: tuple[Try, ...] = ()
    problem: str = ""
    logprobs: tuple[dict[str, Any], ...] = ()


class PersonSaid(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="person"):
    """A human's (or a calling program's) words. `by` is the authenticated principal.

    `sources`: whose they are if they are no person's, in an earlier task.
    """

    text: str
    by: str = ""
    files: tuple[File, ...] = ()
    sources: tuple[str, ...] = ()


class ModelSaid(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="model"):
    """A model's turn: words, thinking and the calls it proposed.

    `sources`: what came from outside and may be behind a turn of an earlier task.
    """

    text: str = ""
    thoughts: tuple[Thought, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    sources: tuple[str, ...] = ()


class ToolAnswered(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="tool"):
    """The one answer to a proposed call. `note` is the house's remark beside it.

    `sources` are where its words come from; empty: from the house.
    """

    call_id: CallId
    tool: str
    outcome: Outcome
    note: str = ""
    sources: tuple[str, ...] = ()


class HouseSaid(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="house"):
    """A remark of the runtime to the model: a failed check, a reminder, a limit."""

    text: str


Entry = PersonSaid | ModelSaid | ToolAnswered | HouseSaid


def words(outcome: Outcome) -> str:
    """What an outcome says, whichever kind it is."""
    return outcome.text if isinstance(outcome, Returned | Failed) else outcome.reason
