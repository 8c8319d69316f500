"""What may stand in the description of a server of tools, and what it would give away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from holdfast.core.mcp import LoginSpec, ServerSpec
from holdfast.core.reach import SECRET

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_PREFIX = re.compile(r"[A-Za-z0-9_-]{0,40}")
_ADDRESS = re.compile(r"https?://[a-z0-9.\[\]:-]+(?:/[!-~]*)?", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")
_BACK = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]|localhost):[1-9][0-9]{1,4}/[!-~]{0,200}")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,200}")
_TEXT = re.compile(r"[\x20-\x7e]{0,8000}")
_KEY = re.compile(r"auth|cookie|key|token|secret|password", re.IGNORECASE)
_OURS = re.compile(
    r"host|connection|content-.*|transfer-encoding|te|trailer|upgrade|proxy-.*|accept.*|mcp-.*"
)


def problems(spec: ServerSpec) -> Iterator[str]:
    """What is wrong with it, as sentences for a person."""
    if not _NAME.fullmatch(spec.name):
        yield f"expected a name like git or our-tickets, at most 32 long, not {spec.name[:40]!r}"
    if bool(spec.command) == bool(spec.url):
        yield f"expected either command or url for {spec.name}"
    yield from _wrong_url(spec) if spec.url else _wrong_command(spec)
    if spec.prefix is not None and not _PREFIX.fullmatch(spec.prefix):
        yield f"expected a prefix of at most 40 letters, digits, - and _ for {spec.name}"
    if any(not path.startswith("/") for path in spec.read_only):
        yield f"expected absolute paths in read_only of {spec.name}"


def _wrong_url(spec: ServerSpec) -> Iterator[str]:
    if not _ADDRESS.fullmatch(spec.url) or not _plain(spec.url):
        yield f"expected a url like https://mcp.example.com/mcp for {spec.name}, in lower case"
    if "$SECRET" in spec.url:
        yield f"expected no secret in the url of {spec.name}: put it into headers"
    if spec.environment or spec.reveal or spec.read_only or spec.shared:
        yield f"{spec.name}: environment, reveal, read_only and shared are for a command"
    yield from _wrong_login(spec, spec.login)
    for name, text in spec.headers.items():
        if not _HEADER.fullmatch(name) or _OURS.fullmatch(name.lower()):
            yield f"{spec.name}: {name[:40]!r} is no header that can be put in"
        if not _TEXT.fullmatch(text) or "$SECRET" in SECRET.sub("", text):
            yield f"expected plain text and $SECRET{{name}} in the header {name} of {spec.name}"
        if _KEY.search(name) and not SECRET.search(text):
            yield f"expected $SECRET{{name}} in the header {name} of {spec.name}: it is a key"


def _wrong_login(spec: ServerSpec, login: LoginSpec) -> Iterator[str]:
    if login != LoginSpec() and any(name.lower() == "authorization" for name in spec.headers):
        yield f"expected either a login or a header Authorization for {spec.name}"
    for name, told in (("client_secret", login.client_secret), ("client_key", login.client_key)):
        if told and not (SECRET.fullmatch(told) and login.client_id):
            yield f"expected $SECRET{{name}} in {name} of {spec.name}, beside a client_id"
    if (login.client_secret and login.client_key) or (
        login.grant == "own" and not (login.client_secret or login.client_key)
    ):
        yield f"expected either client_secret or client_key for {spec.name}"
    if login.document and not login.document.startswith("https://"):
        yield f"expected an https address in document of {spec.name}"
    if login.redirect and not _BACK.fullmatch(login.redirect):
        yield f"expected a redirect like http://127.0.0.1:7898/callback for {spec.name}"
    if not all(map(_SCOPE.fullmatch, login.scopes)):
        yield f"expected words without spaces in scopes of {spec.name}"


def _plain(url: str) -> bool:
    """It has a host that can be judged by its words, and a port that there is."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _wrong_command(spec: ServerSpec) -> Iterator[str]:
    if any("\0" in word for word in spec.command) or (spec.command and not spec.command[0]):
        yield f"expected words in the command of {spec.name}, the program first"
    if spec.headers or spec.private or spec.login != LoginSpec():
        yield f"{spec.name}: headers, private and login are for a url"
    for name, text in spec.environment.items():
        if not _VARIABLE.fullmatch(name) or "\0" in text:
            yield f"{spec.name}: {name[:40]!r} is no variable"
        secrets = SECRET.findall(text)
        if _KEY.search(name) and not secrets:
            yield f"expected $SECRET{{name}} in {name} of {spec.name}: it is a key"
        for secret in (one for one in secrets if one not in spec.reveal):
            yield (
                f"{name} of {spec.name} would show the secret {secret} to its process: name it in "
                "reveal if that is wanted, or let [[egress.allow]] fill it in on the way out"
            )
