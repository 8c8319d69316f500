"""What a request may carry: bodies and queries, parsed once. Unknown keys are refused by name."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from holdfast.core.task import Status

Name = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=1_000_000)]
Patterns = Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=100)]


class Body(BaseModel):
    """A JSON object."""

    # Built at first use: a daemon that just starts has nobody to answer yet.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True
    )


class Question(BaseModel):
    """A query string: everything arrives as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Nothing(Body):
    """An empty object; no body is as good."""


class NewConnection(Body):
    """A key, or with `url` a server that speaks as OpenAI does. Nothing of it is ever shown."""

    api_key: Annotated[str, Field(max_length=16_384, repr=False)] = Field(
        default="", repr=False, description="The key; a server may need none."
    )
    url: Name = Field(default="", description="Where the server is, with /v1.")
    models: Annotated[tuple[Name, ...], Field(max_length=100)] = Field(
        default=(), strict=False, description="Models it has; empty: as the server says."
    )
    check: bool = Field(default=True, description="Try it with one request first.")


class LoginAnswer(Body):
    """What the person brought back, if the login asks for something."""

    answer: Annotated[str, Field(max_length=16_384, repr=False)] = Field(default="", repr=False)


class Disconnect(Body):
    """How to forget."""

    local_only: bool = Field(default=False, description="Do not tell the provider.")


class NoQuery(Question):
    """No query."""


class NewLimits(Body):
    """What the task may use; what is left out is as configured."""

    steps: int | None = Field(default=None, ge=1, le=10_000, description="Model turns.")
    tokens: int | None = Field(default=None, ge=0, le=10**9, description="0: no limit.")
    cost_usd: float | None = Field(default=None, ge=0, le=1_000_000, description="US dollars.")
    seconds: int | None = Field(
        default=None, ge=0, le=2_592_000, description="Running time; 0: no limit."
    )
    calls: int | None = Field(default=None, ge=0, le=100_000, description="Tool calls.")
    attempts: int | None = Field(default=None, ge=1, le=100, description="Tries.")
    attempt_seconds: int | None = Field(default=None, ge=1, le=2_592_000)
    check_rounds: int | None = Field(default=None, ge=1, le=100)


class Again(Body):
    """Another try."""

    limits: NewLimits | None = Field(
        default=None, description="What the task may use from now on, over what it could before."
    )


class NewFile(Body):
    """Something that the model is shown beside the words."""

    name: Name = Field(min_length=1)
    media_type: Name = Field(pattern=r"^[\w.+-]+/[\w.+-]+$", description="image/png and the like.")
    data: bytes = Field(strict=False, max_length=10_000_000, description="The bytes in base64.")

    @field_validator("data", mode="before")
    @classmethod
    def _decoded(cls, value: object) -> bytes:
        if not isinstance(value, str):
            raise ValueError("expected a text in base64")  # noqa: TRY004 - it is input that is wrong
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            raise ValueError("this is not base64") from None


class NewStyle(Body):
    """How the model is to answer; what is left out is as configured."""

    thinking: Literal["off", "low", "medium", "high"] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: tuple[Name, ...] | None = Field(default=None, max_length=16)
    max_output: int | None = Field(default=None, ge=0, le=10_000_000, description="Tokens.")


class NewShape(Body):
    """JSON that fits a schema. A wrong answer is sent back; then the task fails, if `strict`."""

    schema_: dict[str, Any] = Field(
        alias="schema", description="A JSON Schema, draft 2020-12 or 7, 64 KiB at most."
    )
    name: Name = Field(default="answer", min_length=1)
    retries: int = Field(default=2, ge=0, le=10, description="Times that it is sent back.")
    strict: bool = True


class NewTask(Body):
    """Something to be done."""

    prompt: str = Field(description="What should be done.")
    model: Name = Field(default="", description="`provider/model`; empty: the default.")
    session: Name = Field(default="", description="The conversation it belongs to.")
    workspace: str = Field(
        default="", description="An absolute path; over TCP `workspace` in the home by default."
    )
    priority: int = Field(default=0, ge=-100, le=100)
    allow: Patterns = Field(default=(), description="Rules `tool` or `tool:pattern` that allow.")
    deny: Patterns = Field(default=(), description="Rules that deny.")
    preset: Name = Field(default="", description="The policy's preset for this task.")
    unattended: bool = Field(default=False, description="Nobody is there: what asks is denied.")
    checks: Patterns = Field(
        default=(), description="Command lines that must exit 0 before it may succeed."
    )
    until: Name = Field(default="", description="A word that the answer must contain.")
    deliver: Patterns = Field(default=(), description="Channels that get the result.")
    limits: NewLimits | None = None
    style: NewStyle | None = None
    shape: NewShape | None = Field(default=None, description="What the answer must look like.")
    key: Name = Field(default="", description="The same key again is the same task.")
    files: Annotated[tuple[NewFile, ...], Field(max_length=20)] = Field(
        default=(), strict=False, description="Images and documents that the model is shown."
    )


class AskedCall(Body):
    """A call that the model proposed, as its reply had it."""

    id: Name
    tool: Name
    arguments: dict[str, Any] = {}
    signature: Text = ""


class AskedThought(Body):
    """A piece of the model's thinking, as its reply had it."""

    text: Text = ""
    signature: Text = ""
    provider: Name = ""


class AskedMessage(Body):
    """One message: of the `user`, of the `assistant`, or of a `tool` that answers `call`."""

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    calls: tuple[AskedCall, ...] = Field(default=(), max_length=1000)
    thoughts: tuple[AskedThought, ...] = Field(default=(), max_length=1000)
    call: Name = Field(default="", description="The id of the call that a tool answers.")
    failed: bool = Field(default=False, description="The tool failed; `text` says how.")


class AskedTool(Body):
    """A tool that the model may call; it is not run here."""

    name: Name = Field(min_length=1)
    description: Text = ""
    schema_: dict[str, Any] = Field(
        default={"type": "object"}, alias="schema", description="JSON Schema of its arguments."
    )


class AskedStyle(Body):
    """How to answer; what is left out is left to the provider."""

    thinking: Literal["", "off", "low", "medium", "high"] = ""
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: tuple[Name, ...] = Field(default=(), max_length=16)
    max_output: int = Field(default=0, ge=0, le=10_000_000, description="Tokens; 0: as usual.")


class AskedShape(Body):
    """What the answer must look like."""

    schema_: dict[str, Any] = Field(alias="schema", description="A JSON Schema.")
    name: Name = "answer"
    strict: bool = True


class Chosen(Body):
    """A model for a role."""

    model: Name = Field(default="", description="`provider/model`; empty takes a choice back.")
    role: Name = "executor"


class Asked(Body):
    """One question to a model, outside any task."""

    model: Name = Field(default="", description="`provider/model`; empty: the role's.")
    role: Name = Field(default="executor", description="As what; it is also what the cost is for.")
    text: str = Field(default="", description="What to say; or `messages`.")
    messages: tuple[AskedMessage, ...] = Field(default=(), max_length=10_000)
    system: str = Field(default="", description="What the model is told before all else.")
    tools: tuple[AskedTool, ...] = Field(default=(), max_length=1000)
    style: AskedStyle = AskedStyle.model_construct()
    shape: AskedShape | None = None
    stream: bool = Field(
        default=False, description="Server-sent events: `delta`s, then `reply` or `error`."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Asked:
        if bool(self.text) == bool(self.messages):
            raise ValueError("give `text` or `messages`")
        return self


class ToEmbed(Body):
    """Texts that are to become vectors."""

    model: Name = Field(
        default="", description="`provider/model` or a provider; empty: the role `embedder`."
    )
    texts: tuple[str, ...] = Field(
        strict=False, min_length=1, max_length=1000, description="At most 200,000 characters each."
    )
    purpose: Literal["document", "query"] = Field(
        default="document", description="Texts that are kept, or that are looked for."
    )
    stream: bool = Field(
        default=False, description="Server-sent events: `reply`, or `error`; for long work."
    )


class Reason(Body):
    """Why."""

    reason: Text = ""


class Message(Body):
    """Something more to say to a task at work."""

    text: Text


class NotAgain(Body):
    """What is not to be asked again, as a lease; by default calls just like this one, for a day."""

    scope: Literal["task", "session", "agent", "all"] = "task"
    of: Name = Field(default="", description="Which one; empty: this task's own.")
    uses: int = Field(default=0, ge=0, le=10**9, description="How often; 0: any number of times.")
    seconds: int = Field(default=86_400, ge=0, le=10**9, description="How long; 0: for ever.")
    reason: Name = ""
    rule: Annotated[str, Field(max_length=1000)] = Field(
        default="", description="`tool:pattern` instead; it must allow this call."
    )


class Approval(Body):
    """A yes to exactly these arguments."""

    digest: str = Field(max_length=64, description="The question's `digest`.")
    whole_task: bool = Field(default=False, description="Allow the tool for the whole task.")
    vouch: bool = Field(
        default=False,
        description="Take over what `nobodys` lists: in this task it counts as said by you.",
    )
    lease: NotAgain | None = Field(default=None, description="Do not ask again for such calls.")
    alike: bool = Field(
        default=False,
        description="Of a read, or at medium trust: answer all about the very same call.",
    )
    arguments: dict[str, Any] | None = Field(
        default=None,
        description="No yes, but an edit: the call is refused, and the model is told to propose "
        "it with these arguments, which is judged and asked about anew. What is not named stays.",
    )

    @model_validator(mode="after")
    def _one_answer(self) -> Approval:
        more = (self.lease is not None, self.alike, self.arguments is not None)
        if sum((self.whole_task or self.vouch, *more)) > 1:
            raise ValueError("take one of whole_task or vouch, lease, alike and arguments")
        return self


class Backup(Body):
    """Where to."""

    to: str = Field(description="The absolute path of a file that does not exist yet.")


class Purge(Body):
    """Which ended tasks shall be made unreadable for good."""

    session: Name = ""
    task: Name = Field(default="", description="A task's id, or the beginning or end of it.")
    reason: str = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _one_of_them(self) -> Purge:
        if bool(self.session) == bool(self.task):
            raise ValueError("name a session or a task")
        return self


ShowThinking = Annotated[
    Literal["", "never", "on_error", "always"],
    Field(description="Whether `thinking` is shown; empty: as configured."),
]


class ShowQuery(Question):
    """How to show a task."""

    show_thinking: ShowThinking = ""
    advice: bool = Field(
        default=False, description="Also what in the words of strangers reads like orders."
    )


class TaskQuery(Question):
    """Which tasks to list."""

    status: tuple[Status, ...] = Field(
        default=(), description="Statuses, repeated or separated by commas."
    )
    session: Name = ""
    parent: Name = ""
    asked: bool = Field(default=False, description="Only tasks that wait for a person.")
    limit: int = Field(default=50, ge=1, le=500)
    before: Name = Field(default="", description="The `next` of the page before.")

    @model_validator(mode="before")
    @classmethod
    def _split(cls, given: dict[str, Any]) -> dict[str, Any]:
        if "status" not in given:
            return given
        words = ",".join(given["status"]).split(",")
        return {**given, "status": [word.strip().upper() for word in words if word.strip()]}


class EventQuery(Question):
    """Which events of a task."""

    after: int = Field(default=0, ge=0, le=1 << 53, description="Only events with a larger `seq`.")
    limit: int = Field(default=500, ge=1, le=5000)
    follow: bool = Field(
        default=False, description="Stay and stream; so does `Accept: text/event-stream`."
    )
    show_thinking: ShowThinking = ""
