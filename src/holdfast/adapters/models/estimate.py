"""How many tokens a prompt can have at most: what is set aside for it before it is sent."""

from __future__ import annotations

import string

import msgspec

from holdfast.core.context import Prompt
from holdfast.core.message import File, PersonSaid, ToolAnswered, words
from holdfast.ports.model import ToolSpec

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
    text = b"".join([prompt.system.encode(), *map(msgspec.json.encode, (*prompt.entries, *tools))])
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
    return most_tokens(text) + extra + pieces


def most_tokens(text: bytes) -> int:
    """The most tokens that any tokenizer makes of this UTF-8 text; four thirds for short words."""
    others = len(text.translate(None, _LOWER + _SPACE))
    gaps = text.count(b" ") + text.count(b"\n") + text.count(b"\\n")
    return max(others + (len(text) - others + 1) // 2, (gaps + 1) * 4 // 3)


def _of_file(file: File) -> int:
    kind = file.media_type.partition("/")[0]
    if kind == "image":
        return _PICTURE
    return _SOUND + file.size // _BYTES_PER_SOUND if kind == "audio" else file.size // 3
