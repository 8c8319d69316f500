"""Bytes as text, by the rules of browsers: a mark at the start, what was said, what fits."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAID = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE | re.ASCII)
_META = re.compile(rb"<meta\s[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_START = 4_096
_WRONG_SHARE, _LOST_SHARE = 0.01, 0.1
_NOT_IN_TEXT = "\0\x01\x02\x03\x04\x05\x06\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17"
_MAGIC = (b"%PDF-", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"PK\x03\x04", b"\x1f\x8b", b"\x7fELF")

_CHARSETS = """utf-8 cp866 cp874 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-10 iso8859-13
iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u mac-roman mac-cyrillic gbk gb18030 big5
big5hkscs euc_jp iso2022_jp shift_jis cp932 euc_kr cp949 utf-16 utf-16-le utf-16-be"""
_KNOWN = frozenset(_CHARSETS.split())
"""What a page may be written in; Python knows codecs that do other things than read text."""

_RATHER = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gbk", "iso8859-9": "cp1254"}


def decoded(body: bytes, content_type: str) -> str:
    """The text of `body`; what makes no sense in its charset is replaced by a mark."""
    name = _charset(body, content_type)
    if name:
        return body.decode(name, errors="replace").removeprefix("\ufeff")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        cut_short = error.reason == "unexpected end of data"
        return body.decode("utf-8" if cut_short else "cp1252", errors="replace")


def is_text(body: bytes, text: str) -> bool:
    """Whether `text` is what `body` means: no picture, archive or program."""
    wrong, lost = sum(map(text.count, _NOT_IN_TEXT)), text.count("\ufffd")
    few = wrong <= len(text) * _WRONG_SHARE and lost <= len(text) * _LOST_SHARE
    return few and not body.startswith(_MAGIC)


def _charset(body: bytes, content_type: str) -> str:
    for mark, name in _MARKS:
        if body.startswith(mark):
            return name
    if said := _SAID.search(content_type):
        return _known(said[1])
    if meta := _META.search(body[:_START]):
        name = _known(meta[1].decode("ascii", errors="replace"))
        return "utf-8" if name.startswith("utf-16") else name  # it could not have been read
    return ""


def _known(name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except (LookupError, UnicodeError, ValueError):
        return ""
    found = _RATHER.get(found, found)
    return found if found in _KNOWN else ""
