"""The tool that makes one HTTP request, whatever it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from holdfast.adapters.tools.craft import Craft
from holdfast.core.gate.labels import HOST
from holdfast.core.message import EffectClass, Outcome, Returned
from holdfast.ports.egress import Answer, Request
from holdfast.ports.tools import Job, Tool, Traits

from .charset import decoded, is_text
from .errand import AGENT, Errands, address_problem, header, sources
from .outside import cleaned, framed, removed

_MOST = 5 << 20
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_BREAK = re.compile(r"[\r\n\0]")
_LONGEST_HEADER = 8_000
_FRAMING = """accept-encoding connection content-length expect host keep-alive te trailer
transfer-encoding upgrade"""
_OURS = frozenset(_FRAMING.split())
"""Headers that say where a request ends or goes: those of a tool are never let through."""


class Http(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make one HTTP request and see the answer: status, headers and body.

    Redirects are followed. Write $SECRET{name} in a header or the body for a secret you were
    given. To read a page, web_fetch is better.
    """

    url: Annotated[str, Meta(description="Begins with http:// or https://.", min_length=1)]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: Annotated[dict[str, str], Meta(description="Sent with it.")] = {}
    body: Annotated[str, Meta(description="Sent as UTF-8.")] = ""
    timeout: Annotated[float, Meta(description="Seconds it may take.", gt=0, le=120)] = 15.0
    most: Annotated[int, Meta(description="Bytes of the body to keep.", ge=0, le=_MOST)] = 1 << 20


class _Head(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said of an answer before it."""

    status: int
    url: str
    bytes: int
    cut: bool
    note: str = ""


def http_tool(errands: Errands) -> Tool:
    async def do(asked: Http, job: Job) -> Outcome:
        request = Request(
            url=asked.url,
            method=asked.method,
            headers={"User-Agent": AGENT, **asked.headers},
            body=asked.body.encode(),
            seconds=asked.timeout,
            most=asked.most,
        )
        answer = await errands.go(request, job, "http")
        return Returned(text=_told(answer, job), sources=sources(answer))

    traits = Traits(
        effect=EffectClass.WRITES,
        target="url",
        secrets=("headers", "body"),
        source=HOST,
        aims=("method", "url", "headers", "body"),
    )
    return Craft("http", Http, traits, do).vetted(_problem)


def _problem(asked: Http) -> str:
    return address_problem(asked.url) or _headers_problem(asked.headers)


def _headers_problem(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            return f"{name[:40]!r} is no name of a header"
        if name.lower() in _OURS or name.lower().startswith("proxy-"):
            return f"the header {name} cannot be set"
        if _BREAK.search(value) or len(value) > _LONGEST_HEADER:
            return f"the header {name} must be one line of at most {_LONGEST_HEADER:,} characters"
    return ""


def _told(answer: Answer, job: Job) -> str:
    """One line of JSON, and what the other side said as it said it."""
    headers, odd = cleaned("\n".join(f"{name}: {text}" for name, text in answer.headers.items()))
    raw = decoded(answer.body, header(answer, "content-type"))
    body, count = cleaned(raw)
    if not is_text(answer.body, raw):
        body, count = f"[{len(answer.body):,} bytes that are no text]", 0
    head = _Head(
        status=answer.status,
        url=answer.url,
        bytes=len(answer.body),
        cut=answer.cut,
        note=removed(odd + count),
    )
    said = f"{headers}\n\n{body}".strip()
    return f"{msgspec.json.encode(head).decode()}\n{framed(said, job.task)}"
