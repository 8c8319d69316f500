"""Takes known secrets out of whatever is said, in every spelling in which they usually appear.

Exact matches only: nothing is guessed. A value of fewer than six characters is let through, for it
would be found everywhere.
"""

from __future__ import annotations

import base64
import html
import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast
from urllib.parse import quote, quote_plus

import msgspec
import re2  # pyright: ignore[reportMissingTypeStubs]
from msgspec import Struct
from msgspec.structs import replace

SHORTEST = 6
_re2 = cast("Any", re2)
_BLOCK = 256
_LINE = 20
_WRAPPED = 56
_BATCH = 200_000
_MEMORY = 64 << 20
_GAP = rb"(?:\s|\\[nrt])*"
_GAPS = _re2.compile(rb"\s|\\[nrt]")
_PERCENT = re.compile("%[0-9A-F]{2}")
_WRAPS = re.compile(rb"[A-Za-z0-9+/=_-]+")
_CODE = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_PLAIN = "[***]"
_NAMES = frozenset({"id", "call_id", "workspace", "digest", "signature", "name", "team", "model"})
T = TypeVar("T")


class Redactor:
    """Knows secrets by what they are called. What it takes out becomes `<<SECRET_name>>`."""

    def __init__(self, secrets: Iterable[tuple[str, str]] = ()) -> None:
        self._called: dict[bytes, bytes] = {}
        for name, value in secrets:
            for spelling in spellings(value):
                self._called.setdefault(spelling.encode("utf-8", "surrogatepass"), _mark(name))
        self._patterns = tuple(map(_compiled, _batches(sorted(self._called))))
        self._starts = sorted(each.decode("utf-8", "surrogatepass") for each in self._called)
        self._heads = frozenset(each[:size] for each in self._starts for size in (1, 2))
        self.longest = max(map(len, self._starts), default=0)

    def data(self, data: bytes) -> bytes:
        """The bytes of a text without any of the secrets."""
        found = self._without(data, self._named)
        while self._in(found):  # taking one out may put another together: then it shrinks
            found = self._without(found, lambda _: _PLAIN.encode())
        return found

    def text(self, text: str) -> str:
        """The text without any of the secrets; the very same one where there is none."""
        if not self._patterns:
            return text
        data = text.encode("utf-8", "surrogatepass")
        return self.data(data).decode("utf-8", "surrogatepass") if self._in(data) else text

    def clean(self, value: T) -> T:
        """The same value with every text in it redacted; names by which things are found stay."""
        if not self._patterns:
            return value
        try:
            if not self._in(msgspec.json.encode(value)):
                return value
        except (UnicodeEncodeError, TypeError):
            pass
        return mapped(value, self.text)

    def holds(self, text: str) -> bool:
        return self._in(text.encode("utf-8", "surrogatepass"))

    def cut(self, text: str) -> int:
        """How much of the beginning of a text can be let through: its end may begin a secret."""
        place = next(self._beginnings(text), len(text))
        if place == len(text):
            return place
        data = text.encode("utf-8", "surrogatepass")
        at = len(text[:place].encode("utf-8", "surrogatepass"))
        ends = (m.end() for p in self._patterns for m in p.finditer(data) if m.start() < at)
        return len(data[: max(at, *ends, at)].decode("utf-8", "surrogatepass"))

    def _beginnings(self, text: str) -> Iterator[int]:
        """Where, from the left, a secret may have begun that is not complete yet."""
        for place in range(max(0, len(text) - 2 * self.longest), len(text)):
            if text[place : place + 2] not in self._heads:  # most places: they cost nothing
                continue
            rest = text[place:]
            if self._begins(rest) or (len(rest) > _WRAPPED and self._begins("".join(rest.split()))):
                yield place

    def _begins(self, rest: str) -> bool:
        at = bisect_left(self._starts, rest)
        return any(
            len(one) > len(rest) and one.startswith(rest) for one in self._starts[at : at + 2]
        )

    def _in(self, data: bytes) -> bool:
        return any(pattern.search(data) for pattern in self._patterns)

    def _without(self, data: bytes, mark: Callable[[bytes], bytes]) -> bytes:
        for pattern in self._patterns:
            data = cast("bytes", pattern.sub(_marking(mark), data))
        return data

    def _named(self, found: bytes) -> bytes:
        mark = self._called.get(found) or self._called.get(_GAPS.sub(b"", found))
        return mark or _PLAIN.encode()


def mapped(value: T, change: Callable[[str], str]) -> T:
    """The same value with every text in it changed; names by which things are found stay."""
    return cast("T", _mapped(value, change))


class Flow:
    """Text that comes in pieces, redacted: a secret that is cut anywhere is found all the same."""

    def __init__(self, redactor: Callable[[], Redactor]) -> None:
        self._redactor, self._held = redactor, ""

    def more(self, piece: str) -> str:
        """What can be let through with this piece; the end is kept while it may be a secret's."""
        known, text = self._redactor(), self._held + piece
        cut = known.cut(text)
        self._held = text[cut:]
        return known.text(text[:cut])

    def rest(self) -> str:
        """What was kept: nothing more comes."""
        held, self._held = self._held, ""
        return self._redactor().text(held)


@lru_cache(maxsize=4096)
def spellings(value: str) -> frozenset[str]:
    """How a secret may be written: raw, in JSON, percent, HTML, hex, base64; whole, in lines."""
    found = set[str]()
    for piece in _pieces(value):
        found.update(_escaped(piece), _in_json(piece), _encoded(piece.encode("utf-8", "replace")))
    return frozenset(one for one in found if len(one) >= SHORTEST)


def _pieces(value: str) -> Iterator[str]:
    """What stands for the value: itself, or blocks of a long one, and the lines of a text.

    A short line counts where it ends a code that was wrapped into lines, as keys are.
    """
    plain = value.strip()
    for start in range(0, len(plain), _BLOCK):
        if len(block := plain[start : start + _BLOCK]) >= SHORTEST:
            yield block
    before = ""
    for line in map(str.strip, plain.split("\n") if "\n" in plain else ()):
        rest = len(before) > _WRAPPED and _CODE.fullmatch(before) and _CODE.fullmatch(line)
        if (len(line) >= _LINE and " " not in line) or (rest and len(line) >= SHORTEST):
            yield line[:_BLOCK]
        before = line


def _escaped(piece: str) -> Iterator[str]:
    yield piece
    yield html.escape(piece)
    yield piece.replace("'", "'\\''")
    for percent in (
        quote(piece, safe="", errors="replace"),
        quote(piece, errors="replace"),
        quote_plus(piece, errors="replace"),
    ):
        yield percent
        yield _PERCENT.sub(lambda found: found.group().lower(), percent)


def _in_json(piece: str) -> Iterator[str]:
    """As a JSON text says it, one that is in a JSON text again, and so on; or what it says."""
    level = {piece}
    for _ in range(3):
        level = {
            json.dumps(one, ensure_ascii=only)[1:-1] for one in level for only in (True, False)
        }
        yield from level
        yield from (one.replace("/", "\\/") for one in level)
    try:
        said: object = json.loads(f'"{piece}"')
    except ValueError:
        return
    if isinstance(said, str):
        yield said


def _encoded(data: bytes) -> Iterator[str]:
    yield data.hex()
    yield data.hex().upper()
    for before in range(3):
        # Characters that the neighbours have a part in are left out.
        whole = base64.b64encode(bytes(before) + data).decode()
        certain = whole[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        yield certain
        yield certain.translate(str.maketrans("+/", "-_"))


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if type(value) is str:
        return change(value)
    if isinstance(value, Struct):
        names = [name for name in value.__struct_fields__ if name not in _NAMES]
        fresh = {name: _mapped(getattr(value, name), change) for name in names}
        changed = {name: one for name, one in fresh.items() if one is not getattr(value, name)}
        return replace(value, **changed) if changed else value
    if isinstance(value, dict):
        table = cast("dict[Any, Any]", value)
        return {_mapped(name, change): _mapped(one, change) for name, one in table.items()}
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        return type(items)(_mapped(one, change) for one in items)  # type: ignore[call-arg]
    return value


def _marking(mark: Callable[[bytes], bytes]) -> Callable[[Any], bytes]:
    return lambda found: mark(found.group())


def _mark(name: str) -> bytes:
    return f"<<SECRET_{name}>>".encode()


def _batches(spelled: Sequence[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for one in spelled:
        if batch and size + len(one) > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one)
    if batch:
        yield batch


def _compiled(spelled: Sequence[bytes]) -> Any:
    options = _re2.Options()
    options.encoding = _re2.Options.Encoding.LATIN1
    options.max_mem, options.longest_match, options.log_errors = _MEMORY, True, False
    return _re2.compile(b"|".join(map(_loose, spelled)), options)


def _loose(spelling: bytes) -> bytes:
    """A long one of the usual alphabets may be wrapped into lines."""
    if len(spelling) > _WRAPPED and _WRAPS.fullmatch(spelling):
        return _GAP.join(_re2.escape(spelling[at : at + 1]) for at in range(len(spelling)))
    return cast("bytes", _re2.escape(spelling))
