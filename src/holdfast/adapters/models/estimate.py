"""How many tokens a prompt can have at most: what is set aside for it before it is sent."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from holdfast.core.context import Prompt
from holdfast.core.message import File, PersonSaid, ToolAnswered, words
from holdfast.ports.model import ToolSpec

from .remembered import Remembered, alike

_PER_ENTRY = 16
_PER_TOOL = 64
_LOWER = string.ascii_lowercase.encode()
_SPACE = b" \t\r\n"
# The most that any provider counts for one picture (OpenAI's small models: 33 tokens for each of
# the usual ones). A second of sound is 10 to 32 tokens and at least 1,000 bytes.
_PICTURE = 50_000
_SOUND = 1_000
_BYTES_PER_SOUND = 25


def tokens_of(prompt: Prompt, tools: tuple[ToolSpec, ...]) -> int:
    """An upper bound of the tokens of a prompt, without any I/O, and something for each piece.

    Tokenizers differ, so it goes by what is dearest in any of them: capitals, digits, signs and
    bytes of other scripts can be a token each; small letters make one of two at worst (random
    ones do; words need four or five), blanks one of two. English is estimated at twice its tokens.
    """
    said = b"".join([prompt.system.encode(), *map(msgspec.json.encode, prompt.entries)])
    extra = 0
    for entry in prompt.entries:
        match entry:
            case ToolAnswered():
                extra += len(words(entry.outcome)) // 60
            case PersonSaid():
                extra += sum(map(_of_file, entry.files))
            case _:
                pass
    pieces = _PER_ENTRY * (len(prompt.entries) + 1) + _PER_TOOL * len(tools)
    return _most(_counted(said).and_also(_TOOLS.of(tools))) + extra + pieces


def most_tokens(text: bytes) -> int:
    """The most tokens that any tokenizer makes of this UTF-8 text; four thirds for short words."""
    return _most(_counted(text))


class _Count(NamedTuple):
    """What of a text counts: its bytes, those that can be a token each, the gaps between words."""

    size: int
    others: int
    gaps: int

    def and_also(self, more: _Count) -> _Count:
        return _Count(self.size + more.size, self.others + more.others, self.gaps + more.gaps)


def _counted(text: bytes) -> _Count:
    gaps = text.count(b" ") + text.count(b"\n") + text.count(b"\\n")
    return _Count(len(text), len(text.translate(None, _LOWER + _SPACE)), gaps)


def _most(count: _Count) -> int:
    size, others, gaps = count
    return max(others + (size - others + 1) // 2, (gaps + 1) * 4 // 3)


def _of_tools(tools: Sequence[ToolSpec]) -> _Count:
    return _counted(b"".join(map(msgspec.json.encode, tools)))


_TOOLS = Remembered(_of_tools, alike)


def _of_file(file: File) -> int:
    kind = file.media_type.partition("/")[0]
    if kind == "image":
        return _PICTURE
    return _SOUND + file.size // _BYTES_PER_SOUND if kind == "audio" else file.size // 3
