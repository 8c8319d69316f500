"""The table of the way out: what may be reached, by whom, how much, with which secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field, field_validator, model_validator

from holdfast.core.egress import host_of, literal, named
from holdfast.core.error import NotAllowed
from holdfast.core.reach import READING, SECRET

from .section import Section, number, word

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TEXT = re.compile(r"[\x20-\x7e]*")
_KEY = re.compile(r"auth|cookie|key|token|secret|password", re.IGNORECASE)
_OURS = re.compile(r"host|connection|content-length|transfer-encoding|te|trailer|upgrade|proxy-.*")


class AllowRow(Section):
    """Something that may be reached; all must match, and the first row that does counts."""

    host: str = Field(
        description="A name, or `*.name` for all below it; `*`: every public host.",
        examples=["api.github.com"],
    )
    port: int = number(443, 0, 65_535, "", "Its port; 0: 80, 443 and all above 1023.")
    methods: tuple[Method, ...] = Field(
        default=(), strict=False, description="HTTP methods; empty: all.", examples=[["GET"]]
    )
    path: str = word("*", "A shell pattern for the path, without the query.", "/repos/*")
    headers: dict[str, str] = Field(
        default={},
        description="Put into each request as it leaves, in place of what was there; "
        "`$SECRET{name}` is a secret that nobody inside sees.",
        examples=[{"Authorization": "Bearer $SECRET{github}"}],
    )
    agents: tuple[str, ...] = Field(
        default=("*",),
        strict=False,
        description="Shell patterns of the agents that may.",
        examples=[["research-*"]],
    )
    tools: tuple[str, ...] = Field(
        default=("*",),
        strict=False,
        description="Shell patterns of the tools that may.",
        examples=[["http", "exec"]],
    )
    boxes: bool = word(
        False, "Commands in boxes may, too; without such a row they have no network."
    )

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        return _pattern(value)

    @field_validator("headers")
    @classmethod
    def _can_be_put_in(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _NAME.fullmatch(name) or _OURS.fullmatch(name.lower()):
                raise ValueError(f"expected headers that can be put in, not {name!r}")
            if not _TEXT.fullmatch(text) or "$SECRET" in SECRET.sub("", text):
                raise ValueError(f"expected plain text and $SECRET{{name}} in the header {name}")
            if _KEY.search(name) and not SECRET.search(text):
                raise ValueError(f"expected $SECRET{{name}} in {name}: a key is not for this file")
        return value


class Egress(Section):
    """The way out. What is not allowed here is not reached, and every request is written down."""

    web: bool = word(True, "The house's own tools may reach every public host. Boxes never may.")
    methods: tuple[Method, ...] = Field(
        default=READING,
        strict=False,
        description="What they may do there; empty: everything.",
        examples=[["GET", "HEAD", "POST"]],
    )
    private: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Hosts that may be at an inner address, and addresses that may be written.",
        examples=[["wiki.lan", "*.corp.example", "127.0.0.1"]],
    )
    intercept: bool = word(
        False,
        "Open the TLS of commands in boxes where a row has methods, a path or headers. Without "
        "it such rows are for the house's own tools only.",
    )
    requests: int = number(1_000, 1, 10**9, "requests", "The most that one task may make.")
    max_mb: int = number(1024, 1, 1 << 30, "MiB", "The most that one task may move, both ways.")
    allow: tuple[AllowRow, ...] = Field(
        default=(), strict=False, description="What may be reached: `[[egress.allow]]`."
    )

    @field_validator("private")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_pattern(one) for one in value)

    @model_validator(mode="after")
    def _secrets_go_over_tls(self) -> Egress:
        for row in self.allow:
            secret = any(SECRET.search(text) for text in row.headers.values())
            if secret and row.port != 443 and not _inner(row.host, self.private):
                raise ValueError(
                    f"expected port 443 where a secret is put in, not {row.port} at {row.host}"
                )
        return self

    def doubts(self) -> Iterator[str]:
        """What can be written, and does not do what it seems to."""
        for place, row in enumerate(self.allow, start=1):
            closed = row.port != 80 and bool(row.methods or row.headers or row.path != "*")
            if row.boxes and closed and not self.intercept:
                yield (
                    f"egress.allow {place} ({row.host}) is for boxes, whose TLS stays closed: "
                    "set egress.intercept, or leave out its methods, path and headers"
                )


def _inner(host: str, private: Iterable[str]) -> bool:
    return host in private or named(tuple(private), host)


def _pattern(text: str) -> str:
    if text == "*":
        return text
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        return star + (literal(name) if ":" in name else host_of(name))
    except NotAllowed:
        raise ValueError(f"expected the name of a host, or *.name, found {text!r}") from None
