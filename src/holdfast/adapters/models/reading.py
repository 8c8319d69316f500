"""What a model's text holds besides words, on its way and whole: thoughts, and calls as text."""

from __future__ import annotations

from collections.abc import Callable

import anyio.to_thread
from msgspec.structs import replace

from holdfast.core.agent import Shape
from holdfast.core.context import Prompt
from holdfast.core.ids import canonical
from holdfast.core.message import Reply, Thought
from holdfast.ports.model import Delta, ToolSpec

from .call_filter import CallFilter
from .loading import load_aside
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
        if delta.thought or delta.call or delta.reset:
            self._hear(replace(delta, text=""))

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


_SHAPE = """\
Your final answer must be one JSON value that fits the JSON Schema below, and nothing else: no \
words before or after it.

"""


def with_shape(prompt: Prompt) -> Prompt:
    """The prompt with the wanted shape of the answer in words, for all who do not enforce it."""
    if prompt.shape is None:
        return prompt
    schema = canonical(prompt.shape.schema)
    return replace(prompt, system=f"{prompt.system}\n\n{_SHAPE}{schema}".lstrip())


async def shaped(reply: Reply, prompt: Prompt) -> Reply:
    """A final answer as the canonical JSON that was wanted, or with its `problem`."""
    if prompt.shape is None or reply.calls:
        return reply
    shapes = await load_aside("shapes")
    text, problem = await anyio.to_thread.run_sync(shapes.fit, reply.text, prompt.shape)
    return replace(reply, text=text, problem=problem)


async def check_shape(shape: Shape) -> None:
    """Raises `Invalid` for a shape that no answer can be held to."""
    shapes = await load_aside("shapes")
    await anyio.to_thread.run_sync(shapes.check, shape.schema)
