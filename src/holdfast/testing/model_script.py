"""What a scripted model says, what goes wrong while it says it, and what it was asked."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

import msgspec

DialectName = Literal["openai", "responses", "mistral", "anthropic", "gemini", "bedrock", "ollama"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one reply. Parts are included in wholes; a dialect that counts apart subtracts.

    `input` counts every prompt token, those of `cache_read` and `cache_write` included;
    `output` counts every generated token, those of `reasoning` included.
    """

    input: int = 10
    output: int = 5
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedCall:
    """One tool call the model proposes. `id` is invented when left empty.

    `arguments` is the object, or a string sent raw: so arguments that are not JSON are scripted.
    Gemini reports those as `MALFORMED_FUNCTION_CALL`. Ollama, and Anthropic when not streaming,
    have no room for them in their formats: there the string stands where the object should.
    """

    name: str
    arguments: dict[str, Any] | str = field(default_factory=dict[str, Any])
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of the scripted model: what it says, and what goes wrong on the way.

    Saying:
      text, thinking, calls  the content, in the order thinking, text, calls
      usage                  tokens to report; None reports none
      finish                 why it stopped; by default "tool_calls" with calls, else "stop"
      chunks                 pieces to stream each of thinking, text and a call's arguments in
      vectors                asked for embeddings, these; None: one for each text, from its words
      shuffled               the vectors in another order than the texts, numbered rightly
    Refusing:
      status                 200, or 400..599 with the dialect's error body; `text` is its message
      error                  the dialect's error code or type, if not the usual one for `status`
      retry_after            seconds, for the `Retry-After` header and Gemini's `RetryInfo`
    Timing, in seconds of real time:
      hold                   before the first byte wait for `release()`, 60 s at most
      delay                  before the first byte wait this long
      chunk_delay            wait this long before every streamed piece but the first
    Breaking:
      cut                    end after this many streamed pieces, without the terminal event;
                             an answer that is not streamed is cut in the middle of its body
      cut_cleanly            end a cut as HTTP prescribes; otherwise the connection just closes
      stall                  send `cut` pieces (by default half), then nothing until the client
                             leaves, 60 s at most; then the connection just closes
      malformed              send what is not JSON: a body, an error page, a broken stream event
    """

    text: str = ""
    thinking: str = ""
    calls: tuple[ScriptedCall, ...] = ()
    usage: Usage | None = Usage()
    finish: Finish | None = None
    chunks: int = 1
    vectors: tuple[tuple[float, ...], ...] | None = None
    shuffled: bool = False
    status: int = 200
    error: str = ""
    retry_after: float | None = None
    hold: bool = False
    delay: float = 0.0
    chunk_delay: float = 0.0
    cut: int | None = None
    cut_cleanly: bool = False
    stall: bool = False
    malformed: bool = False

    def __post_init__(self) -> None:
        if self.status != 200 and not 400 <= self.status <= 599:
            raise ValueError(f"status is 200 or 400..599, not {self.status}")
        if self.chunks < 1 or (self.cut is not None and self.cut < 0):
            raise ValueError("chunks is at least 1 and cut at least 0")
        if min(self.delay, self.chunk_delay, self.retry_after or 0) < 0:
            raise ValueError("delays and retry_after are seconds, 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """One request as it arrived. Header names are lower case; `at` is seconds since the epoch.

    `messages` is the dialect's own list (`messages`, or Gemini's `contents`), untouched.
    """

    dialect: DialectName
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    model: str
    messages: list[dict[str, Any]]
    streaming: bool
    at: float

    @property
    def last_text(self) -> str:
        """The words of the last message (its tool results included), whatever the dialect."""
        return "\n".join(_words(self.messages[-1])) if self.messages else ""


def _words(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in cast("list[object]", value):
                yield from _words(item)
        case dict():
            known = cast("dict[str, object]", value)
            for key in ("text", "content", "parts", "output", "toolResult"):
                yield from _words(known.get(key))
            if answer := known.get("functionResponse"):
                yield msgspec.json.encode(answer).decode()
        case _:
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Replies given in order, and the one given once they are used up."""

    replies: tuple[Reply, ...] = ()
    default: Reply | None = None


def parse_script(text: bytes | str) -> Script:
    """Read the JSON form: `[reply, ...]` or `{"replies": [reply, ...], "default": reply}`.

    A reply is an object with the field names of `Reply`, its calls and usage likewise.
    Anything else is a ValueError.
    """
    value: object = msgspec.json.decode(text)
    script = {"replies": cast("object", value)} if isinstance(value, list) else value
    _refuse_unknown_names(script, Script, "script")
    return msgspec.convert(script, Script)


def _refuse_unknown_names(value: object, shape: type[Any], where: str) -> None:
    if not isinstance(value, dict):
        return
    known = cast("dict[str, object]", value)
    if unknown := known.keys() - {field.name for field in fields(shape)}:
        raise ValueError(f"{where}: no such field: {', '.join(sorted(unknown))}")
    for name, item in known.items():
        if inner := _INNER.get((shape, name)):
            items = cast("list[object]", item) if isinstance(item, list) else [item]
            for one in items:
                _refuse_unknown_names(one, inner, f"{where}.{name}")


_INNER: dict[tuple[type[Any], str], type[Any]] = {
    (Script, "replies"): Reply,
    (Script, "default"): Reply,
    (Reply, "calls"): ScriptedCall,
    (Reply, "usage"): Usage,
}
