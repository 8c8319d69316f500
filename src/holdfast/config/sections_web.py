"""The table of the web's tools: which search engines, and their keys by reference."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from .section import Section, number, word

ENGINES = ("brave", "perplexity", "tavily", "jina", "searxng", "duckduckgo")
_REFERENCE = re.compile(r"\$SECRET\{[a-z0-9][a-z0-9._/-]*\}")
_ADDRESS = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?(?:/[\w./-]*)?", re.ASCII)


class SearchEngine(Section):
    """What is said otherwise of one search engine."""

    key: str = word(
        "", "Its key among the secrets; empty: `key_env` is looked up.", "$SECRET{search/brave}"
    )
    key_env: str = word("", "The variable with its key; empty: the usual one.", "BRAVE_API_KEY")
    base_url: str = word(
        "", "Where it is; empty: the usual place. SearXNG has none.", "http://127.0.0.1:8888"
    )

    @field_validator("key")
    @classmethod
    def _is_a_reference(cls, value: str) -> str:
        if value and not _REFERENCE.fullmatch(value):
            raise ValueError("expected $SECRET{name}: a key is a password, and not for this file")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_a_plain_address(cls, value: str) -> str:
        if value and not _ADDRESS.fullmatch(value):
            raise ValueError("expected an address like http://127.0.0.1:8888, and no password")
        return value


class Web(Section):
    """The tools that look at the web. Where they may go is said in `[egress]`."""

    engines: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Search engines in the order in which they are asked, until one answers; empty:"
        f" {', '.join(ENGINES)}. One without the key or address that it needs is left out.",
        examples=[["searxng", "duckduckgo"]],
    )
    preferred: str = word("", "The engine that is asked first.", "duckduckgo")
    seconds: float = number(15.0, 0.1, 120, "s", "How long one engine may take.")
    search: dict[str, SearchEngine] = Field(
        default={}, description="One table per engine: `[web.search.NAME]`."
    )

    @field_validator("engines", "preferred", "search")
    @classmethod
    def _are_engines(
        cls, value: str | tuple[str, ...] | dict[str, SearchEngine]
    ) -> str | tuple[str, ...] | dict[str, SearchEngine]:
        names = [value] if isinstance(value, str) else value
        for name in names:
            if name and name not in ENGINES:
                raise ValueError(f"expected only the engines {', '.join(ENGINES)}, not {name}")
        return value
