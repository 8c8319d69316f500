"""The commands about secrets: a value is asked for without echo, and never shown."""

from __future__ import annotations

import getpass
import sys
import time
from pathlib import Path

from .client import query
from .out import ago, line, short
from .reading import count_of, part_of, rows_of, text_of, texts_of
from .stop import OK, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_LONGEST = 1 << 20
_DAY = 86_400_000
_HEAD = ("SECRET", "AGENTS", "USES", "LAST USED", "LIMITS", "NOTE")
_USES = ("WHEN", "AGENT", "TASK", "TOOL")
_KEPT = {
    "file": "in a private file of the home",
    "passphrase": "wrapped by a passphrase",
    "keyring": "in the system's keyring",
}


def secret_list(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/secrets")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    now = time.time()
    rows = [_row(one, now) for one in rows_of(found, "secrets")]
    if rows:
        desk.screen.table(_HEAD, rows)
    else:
        desk.screen.note("there are no secrets: holdfast secret set NAME")
    return OK


def secret_set(desk: Desk, given: Given) -> int:
    name = given.word()
    if given.word(1):  # it may be the value: it is not repeated
        hint = f"holdfast secret set {name} asks for it, or reads it with --stdin"
        raise Stop("a secret is never an argument, where others see it", hint=hint, name="usage")
    body: Json = {"name": name, **_terms(given)}
    if not given.has("keep"):
        body["value"] = _typed(desk, given, f"Value of {line(name)}, not shown: ")
    return _made(desk, given, desk.daemon.post("/api/v1/secrets", body, repeatable=True), "is kept")


def secret_generate(desk: Desk, given: Given) -> int:
    body: Json = {"name": given.word(), "length": given.count("length") or 32}
    body["charset"] = given.one("charset") or "urlsafe"
    return _made(desk, given, desk.daemon.post("/api/v1/secrets/generate", body), "is made")


def secret_grant(desk: Desk, given: Given) -> int:
    return _granted(desk, given, "/api/v1/secrets/grant")


def secret_revoke(desk: Desk, given: Given) -> int:
    return _granted(desk, given, "/api/v1/secrets/revoke")


def secret_delete(desk: Desk, given: Given) -> int:
    found = desk.daemon.post("/api/v1/secrets/delete", {"name": given.word()}, repeatable=True)
    if given.has("json"):
        desk.screen.json(found)
    else:
        said = "is forgotten" if found.get("deleted") else "was not there"
        desk.screen.tell(f"{line(text_of(found, 'name'))} {said}")
    return OK


def secret_import(desk: Desk, given: Given) -> int:
    body: Json = {"text": _file(given.word()), "prefix": given.one("prefix")}
    found = desk.daemon.post("/api/v1/secrets/import", body, repeatable=True)
    if given.has("json"):
        desk.screen.json(found)
        return OK
    for row in rows_of(found, "secrets"):
        desk.screen.tell(_reference(row))
    desk.screen.note("nobody may use them yet: holdfast secret grant NAME AGENT")
    return OK


def secret_uses(desk: Desk, given: Given) -> int:
    found = desk.daemon.get(f"/api/v1/secrets/uses{query(name=given.word())}")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    now = time.time()
    rows = [
        (
            ago(count_of(one, "at"), now),
            line(text_of(one, "agent")),
            short(text_of(one, "task")) or "-",
            line(text_of(one, "tool")) or "-",
        )
        for one in rows_of(found, "uses")
    ]
    if rows:
        desk.screen.table(_USES, rows)
    else:
        desk.screen.note("nobody has used it")
    return OK


def vault_status(desk: Desk, given: Given) -> int:
    return _vault(desk, given, desk.daemon.get("/api/v1/vault"))


def vault_rotate(desk: Desk, given: Given) -> int:
    return _vault(desk, given, desk.daemon.post("/api/v1/vault/rotate"))


def vault_seal(desk: Desk, given: Given) -> int:
    ways = [way for way in _KEPT if given.has(way)]
    if len(ways) != 1:
        raise Stop("say one of --file, --passphrase and --keyring", name="usage")
    body: Json = {"how": ways[0]}
    if ways[0] == "passphrase":
        body["passphrase"] = _typed(desk, given, "Passphrase, not shown: ", twice=True)
    return _vault(desk, given, desk.daemon.post("/api/v1/vault/seal", body))


def _vault(desk: Desk, given: Given, found: Json) -> int:
    if given.has("json"):
        desk.screen.json(found)
        return OK
    kept, count = text_of(found, "kept"), count_of(found, "secrets")
    if found.get("sealed") is not None:
        desk.screen.tell(f"{count_of(found, 'sealed')} entries are sealed with a new key")
    desk.screen.tell(f"AES-256-GCM; the key is {_KEPT.get(kept, kept)}; {count} secrets for agents")
    if kept == "passphrase" and found.get("sealed") is not None:
        desk.screen.note("at its next start the daemon needs it: HOLDFAST_VAULT_PASSPHRASE_FILE")
    return OK


def _granted(desk: Desk, given: Given, target: str) -> int:
    body: Json = {"name": given.word(), "agent": given.word(1)}
    found = desk.daemon.post(target, body, repeatable=True)
    if given.has("json"):
        desk.screen.json(found)
        return OK
    agents = texts_of(part_of(found, "terms"), "grants")
    said = f"may be used by {', '.join(map(line, agents))}" if agents else "may be used by nobody"
    desk.screen.tell(f"{line(text_of(found, 'name'))} {said}")
    return OK


def _made(desk: Desk, given: Given, found: Json, what: str) -> int:
    if given.has("json"):
        desk.screen.json(found)
        return OK
    desk.screen.tell(f"{_reference(found)} {what}")
    if found.get("short"):
        desk.screen.note("it is too short to be recognised where it is said", color="warn")
    if not texts_of(part_of(found, "terms"), "grants"):
        name = line(text_of(found, "name"))
        desk.screen.note(f"nobody may use it yet: holdfast secret grant {name} AGENT")
    return OK


def _reference(row: Json) -> str:
    return f"$SECRET{{{line(text_of(row, 'name'))}}}"


def _terms(given: Given) -> Json:
    terms: Json = {}
    if given.many("grant"):
        terms["grants"] = given.many("grant")
    for option, field in (("per-minute", "per_minute"), ("max-uses", "max_uses")):
        if (count := given.count(option)) is not None:
            terms[field] = count
    if (days := given.number("expires")) is not None:
        terms["expires_at"] = round(time.time() * 1000 + days * _DAY) if days else 0
    if given.has("note"):
        terms["note"] = given.one("note")
    return terms


def _typed(desk: Desk, given: Given, asked: str, *, twice: bool = False) -> str:
    if given.has("stdin"):
        return sys.stdin.read(_LONGEST).rstrip("\r\n")
    if not desk.screen.attended:
        raise Stop("it can only be typed at a terminal: pipe it in with --stdin", name="usage")
    value = getpass.getpass(asked, sys.stderr)
    if twice and getpass.getpass("Again: ", sys.stderr) != value:
        raise Stop("the two are not the same: nothing was changed", name="usage")
    return value


def _file(name: str) -> str:
    if name == "-":
        return sys.stdin.read(_LONGEST)
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Stop(f"{name} is not UTF-8") from error


def _row(row: Json, now: float) -> tuple[str, ...]:
    terms = part_of(row, "terms")
    used = ago(count_of(row, "last_used"), now) if count_of(row, "last_used") else "-"
    per_minute = count_of(terms, "per_minute")
    limits = [f"{per_minute} a minute"] if per_minute else []
    if most := count_of(terms, "max_uses"):
        limits.append(f"{most} in all")
    if ends := count_of(terms, "expires_at"):
        day = time.strftime("%Y-%m-%d", time.gmtime(ends / 1000))
        limits.append(f"until {day}" if ends / 1000 > now else "expired")
    return (
        line(text_of(row, "name")),
        ", ".join(map(line, texts_of(terms, "grants"))) or "nobody",
        str(count_of(row, "uses")),
        used,
        ", ".join(limits) or "none",
        line(text_of(terms, "note")),
    )
