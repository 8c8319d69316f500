"""A server that says everything back that it is sent, in every writing, and a form for browsers."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, quote, urlsplit

from holdfast.testing.website import Asked, Reply, Website

INJECTED = "x-canary"
FIELDS = 3

_WRITINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "base64": base64.b64encode,
    "url": lambda data: quote(data, safe="").encode(),
    "hex": lambda data: data.hex().encode(),
    "json": lambda data: json.dumps(data.decode(errors="replace")).encode(),
    "shifted": lambda data: base64.b64encode(b"x" + data),
}
READ_BACK = tuple(_WRITINGS)
"""Paths, each of which answers in another writing."""


def echo() -> Website:
    return Website(rule=_answer)


def _answer(asked: Asked) -> Reply | None:
    name = asked.path.strip("/").partition("/")[0]
    if name == "form":
        return _page("A form", _FORM)
    if name == "sent":
        return _page("Sent", _sent(asked))
    said = b"; ".join((asked.headers.get(INJECTED, "").encode("latin-1"), asked.body))
    said += b" " + asked.headers.get("authorization", "").encode("latin-1")
    if name in _WRITINGS:
        header = {"X-Back": asked.headers.get(INJECTED, "")}
        return Reply(headers=_PLAIN | header, body=_WRITINGS[name](said))
    if name == "all":
        return Reply(headers=_PLAIN, body=b"\n".join(write(said) for write in _WRITINGS.values()))
    if name == "gzip":
        packed = {"Content-Encoding": "gzip"}
        return Reply(headers=_PLAIN | packed, body=gzip.compress(said))
    if name == "denied" or "search" in name:
        key = json.dumps(dict(asked.headers)).encode()
        return Reply(status=401, headers=_PLAIN, body=b"this is no good key: " + key)
    return None


def _sent(asked: Asked) -> str:
    words = [text for _, text in parse_qsl(urlsplit(asked.target).query)]
    rows = [write(text.encode()).decode() for text in words for write in _WRITINGS.values()]
    return "".join(f"<p>{html.escape(row)}</p>" for row in rows)


def _page(title: str, body: str) -> Reply:
    text = f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}"
    return Reply(headers={"Content-Type": "text/html; charset=utf-8"}, body=text.encode())


_PLAIN = {"Content-Type": "text/plain; charset=utf-8"}
_INPUTS = "".join(f"<p><input name=f{number} size=60></p>" for number in range(FIELDS))
_SCRIPT = "document.querySelector('#seen').textContent = document.forms[0].f0.value"
_FORM = f"""<form action=/sent>{_INPUTS}<button>Send</button></form>
<button id=show onclick="{_SCRIPT}">Show</button><p id=seen></p>"""
