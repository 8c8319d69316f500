"""The tool that reads one page: what it says, without what only a browser needs."""

from __future__ import annotations

import json
import re
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from msgspec import Meta, Struct

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.craft import Craft
from holdfast.core.gate.labels import HOST
from holdfast.core.message import EffectClass, Outcome, Returned
from holdfast.ports.egress import Answer, Request
from holdfast.ports.tools import Job, Tool, Traits

from .charset import decoded, is_text
from .errand import AGENT, Errands, address_problem, header, sources
from .markdown import to_markdown
from .outside import cleaned, framed, removed

_MOST = 2 << 20
_LONGEST = 50_000
_OF_AN_ERROR = 2_000
_GOOD_UNTIL = 300
_WANTED = "text/html, application/xhtml+xml, application/json;q=0.9, text/*;q=0.8, */*;q=0.5"
_KIND = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)
_LOOKS_LIKE_HTML = re.compile(
    r"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE
)


class WebFetch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read a web page as Markdown, or a text or JSON file as it is."""

    url: Annotated[str, Meta(description="Begins with http:// or https://.", min_length=1)]
    max_chars: Annotated[int, Meta(description="Characters to show.", ge=100, le=_LONGEST)] = 8_000
    start: Annotated[int, Meta(description="Characters to skip: to read on.", ge=0)] = 0


class _Read(Struct, frozen=True, kw_only=True):
    """What was read: its kind, title and text, and how many characters were taken out."""

    kind: str
    title: str
    text: str
    unseen: int = 0
    whole: bool = True
    is_text: bool = True


def fetch_tool(errands: Errands) -> Tool:
    one_at_a_time = CapacityLimiter(1)

    async def do(asked: WebFetch, job: Job) -> Outcome:
        headers = {"User-Agent": AGENT, "Accept": _WANTED}
        request = Request(url=asked.url, headers=headers, most=_MOST)
        answer = await errands.go(request, job, "web_fetch")
        read = await to_thread.run_sync(_read, answer, limiter=one_at_a_time)
        if answer.status >= _GOOD_UNTIL:
            raise _failure(answer, read, job)
        return Returned(text=_told(answer, read, asked, job), sources=sources(answer))

    traits = Traits(effect=EffectClass.READS, target="url", source=HOST, aims=("url",))
    return Craft("web_fetch", WebFetch, traits, do).vetted(lambda asked: address_problem(asked.url))


def _read(answer: Answer) -> _Read:
    kind = (
        found[0].lower() if (found := _KIND.match(header(answer, "content-type").strip())) else ""
    )
    raw = decoded(answer.body, header(answer, "content-type"))
    if not is_text(answer.body, raw):
        return _Read(kind=kind or "unknown", title="", text="", is_text=False)
    if "html" in kind or (kind in {"", "text/plain"} and _LOOKS_LIKE_HTML.match(raw[:2_000])):
        page = to_markdown(raw, answer.url)
        text, unseen = cleaned(page.text)
        title, more = cleaned(page.title)
        return _Read(
            kind="text/html", title=title, text=text, unseen=unseen + more, whole=page.whole
        )
    if "json" in kind:
        raw = _pretty(raw)
    text, unseen = cleaned(raw)
    return _Read(kind=kind or "text/plain", title="", text=text.strip("\n"), unseen=unseen)


def _pretty(text: str) -> str:
    """JSON with a line for each value; as it was if that makes it much longer, or is none."""
    try:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
    return pretty if len(pretty) < 4 * len(text) + 1_000 else text


def _told(answer: Answer, read: _Read, asked: WebFetch, job: Job) -> str:
    size = f"{len(answer.body):,} bytes"
    head = f"{answer.url} ({read.kind}, {size})"
    if not read.is_text:
        return f"{head}: this is no text and cannot be shown"
    if not read.text:
        return f"{head}: it says nothing, at least without running scripts"
    end = min(asked.start + asked.max_chars, len(read.text))
    notes = [
        _extent(asked.start, end, len(read.text)),
        removed(read.unseen),
        f"only the first {size} were read" if answer.cut else "",
        "" if read.whole else "it is too long to be read to its end",
    ]
    said = "; ".join(note for note in notes if note)
    title = f"title: {read.title[:300]}\n\n" if read.title else ""
    framing = framed(f"{title}{read.text[asked.start : end]}", job.task)
    return f"{head}{': ' if said else ''}{said}\n{framing}"


def _failure(answer: Answer, read: _Read, job: Job) -> Denied:
    said = f"\n{framed(read.text[:_OF_AN_ERROR], job.task)}" if read.text else ""
    text = f"{answer.url} answered with status {answer.status}{said}"
    return Denied(f"http_{answer.status}", text, sources(answer))


def _extent(start: int, end: int, whole: int) -> str:
    if start >= whole:
        return f"it ends at character {whole:,}"
    if not start and end == whole:
        return ""
    more = f"; go on with start={end}" if end < whole else ""
    return f"characters {start:,} to {end:,} of {whole:,}{more}"
