"""Puts together pieces of a streamed chat completion that carry nothing but more of the same."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

Fields = dict[str, Any]

_TEXTS = frozenset({"content", "reasoning_content", "reasoning"})
# What may differ from piece to piece and says nothing of the reply.
_PASSING = frozenset({"created", "obfuscation"})
# A piece that is a tag by itself means more than its text.
_ENDS_OF_TAGS = (">", "]", "▷")


class _Run(NamedTuple):
    """A piece without its text, and the texts that are to be there."""

    rest: Fields
    place: Fields
    name: str
    texts: list[str]

    def takes(self, rest: Fields, name: str) -> bool:
        return self.name == name and self.rest == rest

    def close(self) -> None:
        self.place[self.name] = "".join(self.texts)


class Merging:
    """Takes pieces as decoded JSON and gives as few as say the same, in the same order."""

    def __init__(self) -> None:
        self._pieces: list[object] = []
        self._run: _Run | None = None
        self._begun = set[str]()
        self.flows = False  # whether the last piece was nothing but more text

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, piece: object) -> None:
        found = _text_in(piece)
        self.flows = found is not None
        if found is None:
            self._close()
            self._pieces.append(piece)
            return
        place, name = found
        text: str = place.pop(name)
        rest = {key: value for key, value in cast("Fields", piece).items() if key not in _PASSING}
        alone = text.endswith(_ENDS_OF_TAGS)
        if self._run and not alone and self._run.takes(rest, name):
            self._run.texts.append(text)
            return
        self._close()
        self._pieces.append(piece)
        if alone or text.isspace() or name not in self._begun:
            # Space before any words may be dropped; and the first of each kind is given as it is.
            self._begun.add(name)
            place[name] = text
        else:
            self._run = _Run(rest, place, name, [text])

    def take(self) -> list[Any]:
        """All that has come since the last time."""
        self._close()
        taken, self._pieces = self._pieces, []
        return taken

    def _close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None


def _text_in(piece: object) -> tuple[Fields, str] | None:
    """Where the text is in a piece with nothing else to say."""
    if not isinstance(piece, dict):
        return None
    fields = cast("Fields", piece)
    choice = _only(fields.get("choices"))
    if choice is None or fields.get("usage") or fields.get("error"):
        return None
    delta = choice.get("delta")
    if choice.get("finish_reason") or choice.get("logprobs") or not isinstance(delta, dict):
        return None
    said = cast("Fields", delta)
    found = [name for name, value in said.items() if value and name != "role"]
    if len(found) != 1:
        return None
    if found[0] == "tool_calls":
        return _arguments_in(said["tool_calls"])
    if found[0] in _TEXTS and isinstance(said[found[0]], str):
        return said, found[0]
    return None


def _arguments_in(calls: object) -> tuple[Fields, str] | None:
    call = _only(calls)
    if call is None or call.get("id"):
        return None
    function = call.get("function")
    if not isinstance(function, dict):
        return None
    said = cast("Fields", function)
    text: object = said.get("arguments")
    if said.get("name") or not text or not isinstance(text, str):
        return None
    return said, "arguments"


def _only(values: object) -> Fields | None:
    """The one object of a list that has no more."""
    if isinstance(values, list) and len(cast("list[object]", values)) == 1:
        value = cast("list[object]", values)[0]
        return cast("Fields", value) if isinstance(value, dict) else None
    return None
