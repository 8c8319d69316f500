"""The commands about the audit: looked at, exported, signed, proved."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from .apart import told
from .client import query
from .dispatch import load
from .out import ago, short
from .reading import count_of, part_of, rows_of, text_of, texts_of
from .stop import FAILED, OK, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("N", "AGE", "KIND", "TASK", "AGENT", "BY", "WHAT", "SAYS")
_FILTERS = ("since", "kind", "task", "agent", "secret", "rule")


def listed(desk: Desk, given: Given) -> int:
    asked = {name: given.one(name) for name in _FILTERS}
    limit, before = given.count("limit") or 50, given.count("before")
    found = desk.daemon.get(f"/api/v1/audit{query(**asked, limit=limit, before=before)}")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    now = time.time()
    rows = [_row(one, now) for one in rows_of(found, "records")]
    if not rows:
        desk.screen.note("there is no such record")
        return OK
    desk.screen.table(_HEAD, rows)
    if found.get("next"):
        desk.screen.note(f"more: --before {found['next']}")
    return OK


def _row(record: Json, now: float) -> tuple[str, ...]:
    fact = part_of(record, "fact")
    what = ("secret", "tool", "call", "subject")
    says = ("verdict", "rule", "code", "after", *(["subject"] if text_of(fact, "secret") else []))
    return (
        str(count_of(record, "seq")),
        ago(count_of(fact, "at"), now) if fact else "",
        text_of(fact, "kind") or "(only its hash)",
        short(text_of(fact, "task")),
        text_of(fact, "agent"),
        text_of(fact, "by"),
        next((told for name in what if (told := text_of(fact, name))), ""),
        ": ".join([told for name in says if (told := text_of(fact, name))][:2]),
    )


def show(desk: Desk, given: Given) -> int:
    number = given.word()
    if not number.isdecimal():
        raise Stop(f"{number!r} is not the number of a record", name="usage")
    found = desk.daemon.get(f"/api/v1/audit/records/{number}")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    for name, value in [*part_of(found, "fact").items(), *found.items()]:
        if name != "fact":
            desk.screen.tell(f"{name:<8} {value}")
    if found.get("fact") is None:
        desk.screen.note("what it said is gone; its hashes stay")
    return OK


def export(desk: Desk, given: Given) -> int:
    reply = desk.daemon.open("GET", "/api/v1/audit/export")
    try:
        if given.word() == "-":
            for piece in reply.pieces():
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return OK
        path = Path(given.word()).expanduser()
        load("tasks").write_new(path, reply.pieces())
    except FileExistsError as error:
        raise Stop(f"{given.word()} exists already", hint="name another file") from error
    finally:
        reply.close()
    if given.has("json"):
        desk.screen.json({"file": str(path)})
    else:
        desk.screen.tell(str(path))
        desk.screen.note(f"to prove it, anywhere: holdfast audit verify {path}")
    return OK


def verify(desk: Desk, given: Given) -> int:
    found = _offline(given) if given.word() else desk.daemon.get("/api/v1/audit/verify")
    code = OK if found.get("ok") else FAILED
    if given.has("json"):
        desk.screen.json(found)
        return code
    if problem := part_of(found, "finding"):
        place = f" (line {problem['line']})" if problem.get("line") else ""
        desk.screen.tell(
            f"NOT whole: {text_of(problem, 'what')}{place}: {text_of(problem, 'says')}"
        )
        return code
    size, signed = count_of(found, "size"), count_of(found, "signed")
    desk.screen.tell(f"whole: {size} records, {count_of(found, 'checkpoints')} checkpoints")
    if gone := count_of(found, "gone"):
        desk.screen.tell(f"of {gone} records only the hashes are kept")
    if signed < size:
        desk.screen.tell(f"no checkpoint covers what comes after record {signed}")
    for key in texts_of(found, "keys"):
        desk.screen.tell(f"signed by {key}")
    return code


def _offline(given: Given) -> Json:
    """In a process of its own that knows of no home: what loads the cryptography is slow."""
    words = ["audit-verify", given.word()]
    for name in ("key", "checkpoint"):
        words += [f"--{name}", given.one(name)] if given.has(name) else []
    words += ["--mirror"] if given.has("mirror") else []
    return told(*words)


def checkpoint(desk: Desk, given: Given) -> int:
    found = desk.daemon.post("/api/v1/audit/checkpoint", repeatable=True)
    made = part_of(found, "checkpoint")
    if given.has("json"):
        desk.screen.json(made)
        return OK
    for name in ("size", "root", "head", "key", "signature"):
        desk.screen.tell(f"{name:<12} {made.get(name)}")
    desk.screen.tell(f"fingerprint  {text_of(found, 'fingerprint')}")
    return OK
