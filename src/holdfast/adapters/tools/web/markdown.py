"""What a page says, as Markdown: headings, links, lists, tables and code, without the furniture."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal
from urllib.parse import urljoin

from msgspec import Struct

from .nest import BLOCKS, HEADINGS, Nest
from .tokens import End, Start, tokens

Region = Literal["main", "article", "body", "furniture"]

_MOST = 4_000_000
_MOST_TOKENS = 300_000
_LONGEST_LINK = 2_000
_DEEPEST_LIST = 6
_GOOD_SHARE = 0.25
_CELL = "\x1f"
_SPACES = re.compile(r"[ \t\r\n\f\xa0]+")
_SPACES_IN_A_ROW = re.compile(r" {2,}")
_AROUND_BREAK = re.compile(r" ?\n[ \n]*")
_LANGUAGE = re.compile(r"\blang(?:uage)?-([\w+#.-]{1,20})")
_TICKS = re.compile(r"`{3,}")


class Page(Struct, frozen=True, kw_only=True):
    """A page as text. `whole` is False when it had so much to say that the rest was left."""

    title: str
    text: str
    whole: bool = True


class Block(Struct, frozen=True):
    """A paragraph, or a line of a list or table: those of one `kind` stand close together."""

    text: str
    kind: str
    region: Region


def to_markdown(page: str, url: str) -> Page:
    """The main part of `page` if it says which that is, else all but the furniture."""
    writer = _Writer(url)
    whole = writer.write(page.replace(_CELL, " "))
    text = _joined(_chosen(writer.blocks))
    return Page(title=writer.title, text=text or writer.description, whole=whole)


def _chosen(blocks: Sequence[Block]) -> Sequence[Block]:
    proper = [block for block in blocks if block.region != "furniture"]
    size = sum(len(block.text) for block in proper)
    for region in ("main", "article"):
        mine = [block for block in proper if block.region == region]
        if sum(len(block.text) for block in mine) > size * _GOOD_SHARE:
            return mine
    return proper or blocks


def _joined(blocks: Iterable[Block]) -> str:
    pieces: list[str] = []
    before = ""
    for block in blocks:
        pieces += ["\n" if block.kind and block.kind == before else "\n\n", block.text]
        before = block.kind
    return "".join(pieces[1:])


class _Line:
    """The text of the block that is being read, and the link that is open in it."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._parts: list[str] = []
        self._link: tuple[int, str] | None = None

    def add(self, text: str) -> None:
        self._parts.append(text)

    def link(self, href: str) -> None:
        self.unlink()
        if target := self._target(href):
            self._link = (len(self._parts), target)

    def unlink(self) -> None:
        """The end of a link: its text and where it leads."""
        if self._link is None:
            return
        start, target = self._link
        text = "".join(self._parts[start:]).strip()
        if text and not {"\n", _CELL} & set(text):
            self._parts[start:] = [f"[{text}]({target})"]
        self._link = None

    def stand(self, href: str) -> None:
        """Where links are relative to."""
        self._base = self._absolute(href) or self._base

    def take(self) -> str:
        """All of it, as it was written; the next begins."""
        self.unlink()
        text = "".join(self._parts)
        self._parts = []
        return text

    def _target(self, href: str) -> str:
        target = "" if href.startswith("#") else self._absolute(href)
        return "".join(f"%{ord(sign):02X}" if sign in " ()<>" else sign for sign in target)

    def _absolute(self, href: str) -> str:
        """`href` as an address of its own; empty for what is none, or leads to no place."""
        href = href.strip()
        if not href or len(href) > _LONGEST_LINK:
            return ""
        try:
            address = urljoin(self._base, href)
        except ValueError:
            return ""
        leads = address.startswith(("http://", "https://", "mailto:"))
        return address if leads and len(address) <= _LONGEST_LINK else ""


class _Writer:
    """Collects blocks. Only counters are nested here: a page may be as deep as it likes."""

    def __init__(self, url: str) -> None:
        self.blocks: list[Block] = []
        self.title = self.description = ""
        self.line = _Line(url)
        self.nest = Nest()
        self.mark = self.language = ""
        self.numbers: list[int | None] = []
        self.cells: list[str] = []
        self._size = 0

    def write(self, page: str) -> bool:
        """False when there was more than anybody wants to read."""
        for count, token in enumerate(tokens(page)):
            if self._size > _MOST or count > _MOST_TOKENS:
                return False
            match token:
                case str():
                    self._say(token)
                case Start():
                    self._start(token)
                case End():
                    self._end(token.name)
        self._flush()
        return True

    def put(self, text: str, kind: str = "") -> None:
        if self.nest.inside("quote"):
            text, kind = "> " + text.replace("\n", "\n> "), kind or "quote"
        self.blocks.append(Block(text, kind, self._region()))
        self._size += len(text)

    def indent(self) -> str:
        return "  " * min(self.nest.inside("list"), _DEEPEST_LIST)

    def _say(self, text: str) -> None:
        if self.nest.inside("hidden"):
            return
        if self.nest.inside("title"):
            self.title = self.title or " ".join(text.split())
        else:
            self.line.add(text if self.nest.inside("pre") else _SPACES.sub(" ", text))

    def _start(self, token: Start) -> None:
        self._between(token.name)
        self.nest.open(token)
        if self.nest.inside("hidden"):
            return
        if token.name in HEADINGS:
            self.mark = f"{HEADINGS[token.name]} "
        elif begin := _BEGINS.get(token.name):
            begin(self, token)

    def _end(self, name: str) -> None:
        self._between(name)
        if name == "a":
            self.line.unlink()
        elif name == "code":
            _code(self, Start(name, {}))
        self.nest.close(name)

    def _between(self, name: str) -> None:
        """An element begins or ends: so does a block, or in a cell of a table a word."""
        if self.nest.inside("hidden"):
            return
        if name in HEADINGS or name in _FLUSHING:
            self._flush()
        elif name in BLOCKS:
            if self.nest.inside("cell"):
                self.line.add(" ")
            elif self.nest.inside("pre"):
                self.line.add("\n")
            else:
                self._flush()

    def _flush(self) -> None:
        text, kind = self.line.take(), ""
        if self.nest.inside("pre"):
            text = self._fenced(text)
        else:
            text = _AROUND_BREAK.sub("\n", _SPACES_IN_A_ROW.sub(" ", text)).strip(" \n")
            if _CELL in text:
                text, kind = self._row(text)
        if text:
            in_list = self.nest.inside("list") > 0
            mark = self.mark or (self.indent() if in_list else "")
            self.put(mark + text, kind or ("list" if in_list else ""))
            self.mark = ""

    def _region(self) -> Region:
        if self.nest.inside("furniture"):
            return "furniture"
        if self.nest.inside("main"):
            return "main"
        return "article" if self.nest.inside("article") else "body"

    def _fenced(self, text: str) -> str:
        text = text.strip("\n").rstrip()
        if not text:
            return ""
        fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
        return f"{fence}{self.language}\n{text}\n{fence}"

    def _row(self, text: str) -> tuple[str, str]:
        """A line of a table, with the line below its head; what has one cell is only text."""
        cells = [" ".join(cell.split()) for cell in text.split(_CELL)]
        cells = cells if cells[0] else cells[1:]
        kinds, self.cells = self.cells, []
        if sum(map(bool, cells)) <= 1:
            return "".join(cells), ""
        row = "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        if set(kinds) == {"th"}:
            row += "\n|" + " --- |" * len(cells)
        return row, "table"


def _list(writer: _Writer, token: Start) -> None:
    if depth := writer.nest.inside("list"):
        writer.numbers[depth - 1 :] = [0 if token.name == "ol" else None]


def _item(writer: _Writer, _token: Start) -> None:
    depth = writer.nest.inside("list")
    del writer.numbers[depth:]
    number = writer.numbers[-1] if writer.numbers else None
    if number is not None:
        writer.numbers[-1] = number = number + 1
    writer.mark = writer.indent()[2:] + ("- " if number is None else f"{number}. ")


def _cell(writer: _Writer, token: Start) -> None:
    writer.line.unlink()
    writer.cells.append(token.name)
    writer.line.add(_CELL)


def _row(writer: _Writer, _token: Start) -> None:
    writer.cells = []


def _pre(writer: _Writer, token: Start) -> None:
    found = _LANGUAGE.search(token.get("class"))
    writer.language = found[1] if found else ""


def _code(writer: _Writer, token: Start) -> None:
    if not writer.nest.inside("pre"):
        writer.line.add("`")
    elif found := _LANGUAGE.search(token.get("class")):
        writer.language = found[1]


def _image(writer: _Writer, token: Start) -> None:
    if alt := " ".join(token.get("alt").split()):
        writer.line.add(f"[image: {alt}]")


def _meta(writer: _Writer, token: Start) -> None:
    if token.get("name").lower() == "description":
        writer.description = writer.description or " ".join(token.get("content").split())


_FLUSHING_NAMES = "ul ol menu li table tr pre hr"
_FLUSHING = frozenset(_FLUSHING_NAMES.split())
_BEGINS: Mapping[str, Callable[[_Writer, Start], None]] = {
    "ul": _list,
    "ol": _list,
    "menu": _list,
    "li": _item,
    "tr": _row,
    "td": _cell,
    "th": _cell,
    "pre": _pre,
    "code": _code,
    "img": _image,
    "meta": _meta,
    "a": lambda writer, token: writer.line.link(token.get("href")),
    "base": lambda writer, token: writer.line.stand(token.get("href")),
    "br": lambda writer, _token: writer.line.add("\n"),
    "hr": lambda writer, _token: writer.put("---"),
}
