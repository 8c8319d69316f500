"""Going out for something: addresses that are plain, refusals that a model can read."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from msgspec.structs import replace

from holdfast.adapters.tools.beneath import Denied
from holdfast.core.error import NotAllowed, Refused, Unavailable
from holdfast.core.gate.labels import HOST, source_of
from holdfast.ports.egress import Allowed, Answer, Egress, Reach, Request
from holdfast.ports.tools import Job

Reaching = Callable[[Job, str], Reach]
"""Where a job may go with the tool of that name."""

AGENT = "Mozilla/5.0 (compatible; Holdfast)"
_LONGEST = 8_000
_ODD = re.compile(r"[\x00-\x20\x7f-\U0010ffff\\]")
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")


class Errands:
    """The way out for tools that are ours."""

    def __init__(self, egress: Egress, reach: Reaching) -> None:
        self._egress, self._reach = egress, reach

    async def go(
        self,
        request: Request,
        job: Job,
        tool: str,
        way: Allowed | None = None,
        *,
        private: bool = False,
    ) -> Answer:
        """Bring the answer. Raises `Denied` with the stable code.

        `way` is what the house lets itself reach for this, `private` if it may be in the house.
        """
        reach = self._reach(job, tool)
        if way is not None:
            near = (way.host,) if private else ()
            allowed = (*reach.allowed, way)
            reach = replace(reach, allowed=allowed, private=(*reach.private, *near))
        try:
            return await self._egress.fetch(request, reach)
        except (NotAllowed, Unavailable, Refused) as error:
            text = f"{error}; {error.hint}" if error.hint else str(error)
            raise Denied(error.code, text) from error


def address_problem(url: str) -> str:
    """Why `url` is not one that policy can judge by its words, or empty.

    One spelling for each place: what a rule says about a host is then about all ways to write it.
    """
    if "$SECRET{" in url:
        return "`url` may hold no secret: addresses are written down; use a header or the body"
    if len(url) > _LONGEST:
        return f"`url` is longer than {_LONGEST:,} characters"
    if _ODD.search(url):
        return "`url` may hold no spaces, backslashes or characters outside ASCII: encode them"
    try:
        parts = urlsplit(url)
        host, port = parts.netloc, parts.port
    except ValueError as error:
        return f"`url` is no address: {error}"
    if not url.startswith(("http://", "https://")):
        return "`url` begins with http:// or https://, in lower case"
    if "@" in host:
        return "`url` may not carry a user or a password: use a header"
    host = host.removesuffix(f":{port}")
    if not _HOST.fullmatch(host) or host.endswith("."):
        return "`url` needs a plain host in lower case, without a dot at its end"
    return ""


def host_of(url: str) -> tuple[str, int]:
    """Host and port of an address that is known to be good."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def sources(answer: Answer) -> tuple[str, ...]:
    """Who had a word in an answer: whoever gave it, and before it all who led there."""
    return tuple(dict.fromkeys(source_of(HOST, url) for url in (*answer.hops, answer.url)))


def header(answer: Answer, name: str) -> str:
    """The value of a header, however its name is written."""
    return next((text for key, text in answer.headers.items() if key.lower() == name), "")
