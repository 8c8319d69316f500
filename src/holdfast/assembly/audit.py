"""The audit of a running house: its start, its end, its copy; and the proof of an export."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from holdfast.adapters.audit.mirror import Mirror
from holdfast.adapters.audit.signing import open_signer, signed
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.adapters.stores.trail import Trail
from holdfast.config import Config
from holdfast.core.audit.chain import Checkpoint
from holdfast.core.audit.fact import Fact, Kind
from holdfast.core.error import Invalid, Unavailable
from holdfast.engine.clock import SystemClock
from holdfast.runtime import audit
from holdfast.runtime.house import House
from holdfast.runtime.proof import prove_file

from .home import AUDIT_KEY, DATABASE

_log = logging.getLogger("holdfast.audit")
_PATIENCE = 5.0
_LONGEST = 1 << 16


@asynccontextmanager
async def on_record(house: House, config: Config) -> AsyncGenerator[None]:
    """Write down that the house starts and, whatever ends it in an orderly way, that it stops."""
    await _note(house, "house.started")
    path = config.audit.mirror and config.home / config.audit.mirror
    mirror = Mirror(path, house.audit) if path else None
    async with anyio.create_task_group() as group:
        if mirror is not None:
            group.start_soon(mirror.run)
        try:
            yield
        finally:
            group.cancel_scope.cancel()
            with anyio.move_on_after(_PATIENCE, shield=True):
                await _end(house, mirror)


async def _end(house: House, mirror: Mirror | None) -> None:
    try:
        await _note(house, "house.stopped")
        if mirror is not None:
            await mirror.catch_up()
    except (OSError, Unavailable) as failure:
        _log.warning("the audit does not know of this end: %s", failure)


async def _note(house: House, kind: Kind) -> None:
    """With what is in force; signed at once, so that little is ever left unsigned."""
    force = house.in_force
    fact = Fact(
        kind=kind,
        at=house.clock.now(),
        subject=house.version,
        after=force.config,
        policy=house.rules.version,
        digest=house.signer.key.hex(),
    )
    await house.audit.append(fact)
    await audit.checkpoint(house)


async def note_restored(home: Path, source: Path) -> None:
    """Write into the audit that came with a backup that it is one: what was after it is gone."""
    now, signer = SystemClock().now(), open_signer(home / AUDIT_KEY)
    async with open_sqlite(home / DATABASE, now=now, trail=Trail(signer)) as journal:
        fact = Fact(kind="house.restored", at=now, subject=source.name)
        await journal.audit().append(fact)


def verify_command(path: Path, key: str, kept: Path | None, *, mirror: bool) -> int:
    """Prove an export or a mirror, and say what was found as JSON; 1 where something is wrong."""
    checkpoint = _checkpoint(kept) if kept else None
    proof = prove_file(path, signed, key=key, kept=checkpoint, mirror=mirror)
    told = {**msgspec.to_builtins(proof), "ok": proof.ok}
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    return 0 if proof.ok else 1


def _checkpoint(path: Path) -> Checkpoint:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LONGEST), type=Checkpoint)
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror}"
        raise Unavailable(what, code="no_checkpoint") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        hint = "name a file with what `holdfast audit checkpoint --json` printed"
        raise Invalid(
            f"{path} is no checkpoint: {error}", code="bad_checkpoint", hint=hint
        ) from error
