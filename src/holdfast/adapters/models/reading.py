"""What a model's text holds besides words, on its way and whole: thoughts, and calls as text."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from holdfast.core.context import Prompt
from holdfast.core.message import Reply, Thought
from holdfast.ports.model import Delta, ToolSpec

from .call_filter import CallFilter
from .text_calls import MOST_CALLS, numbered
from .thinking import Thinking


class Reading:
    """Hears a reply and passes on its words, thoughts and calls, each as what it is."""

    def __init__(
        self, model: str, hear: Callable[[Delta], None], tools: tuple[ToolSpec, ...] = ()
    ) -> None:
        """`tools` are those that the model was told it can call in its text."""
        self._model, self._hear = model, hear
        self._offered = frozenset(tool.name for tool in tools)
        self._begin()

    def _begin(self) -> None:
        self._thinking = Thinking(self._tell, self._in_call)
        self.calls = CallFilter(self._offered, MOST_CALLS)

    def hear(self, delta: Delta) -> None:
        if delta.reset:
            self._begin()
        if delta.text:
            self._thinking.feed(delta.text)
            delta = replace(delta, text="")
        if delta.thought or delta.call or delta.reset:
            self._hear(delta)

    def end(self) -> None:
        """The reply is whole: nothing is held back any more."""
        self._thinking.end()
        for piece in self.calls.end():
            self._hear(piece)

    def _tell(self, piece: Delta) -> None:
        if piece.reset:
            self.calls = CallFilter(self._offered, MOST_CALLS)
            self._hear(Delta(reset=True, model=self._model))
        elif piece.text and self._offered:
            for part in self.calls.feed(piece.text):
                self._hear(part)
        else:
            self._hear(piece)

    def _in_call(self) -> bool:
        return self.calls.within


def understood(reply: Reply, prompt: Prompt, tools: tuple[ToolSpec, ...] = ()) -> Reply:
    """The whole reply with its thoughts, and its calls in `tools`, taken out of its text."""
    words, thoughts = list[str](), list[str]()

    def hear(delta: Delta) -> None:
        if delta.reset:
            words.clear()
        words.append(delta.text)
        thoughts.append(delta.thought)

    reading = Reading(reply.model, hear, tools)
    reading.hear(Delta(text=reply.text))
    reading.end()
    found = numbered(reading.calls.found, reading.calls.left_out, prompt)
    thought, provider = "".join(thoughts).strip(), reply.model.partition("/")[0]
    own = (Thought(text=thought, provider=provider),) if thought else ()
    return replace(
        reply,
        text="".join(words),
        thoughts=(*reply.thoughts, *own),
        calls=(*reply.calls, *found),
        finish="calls" if found and reply.finish == "stop" else reply.finish,
    )
