"""The host's own hands: what it fetches, puts, shows and prints on behalf of a box."""

from __future__ import annotations

import gzip
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec.structs import replace

from holdfast.core.error import HoldfastError
from holdfast.ports.box import BoxSpec

from .field import LIMITS, Field, spec_of, trial
from .ground import running, seen, used
from .inside.attack import Blocked, NotHere

_KEY = "id_ed25519"
_MOMENT = 0.3
_WAITS = 4.0
_RACE, _PAUSE = 2.0, 0.002
_FLIP = """
import os, sys, time
end = time.monotonic() + 4
os.makedirs("flip.a", exist_ok=True)
while time.monotonic() < end:
    for make in (lambda: os.rename("flip.a", "flip"), lambda: os.symlink(sys.argv[1], "flip")):
        try: make()
        except OSError: pass
        try: os.unlink("flip")
        except OSError:
            try: os.rename("flip", "flip.a")
            except OSError: pass
"""
_STAYS = """
import os, sys
if os.fork() == 0:
    os.setsid()
    for n in range(3): os.dup2(os.open("/dev/null", os.O_RDWR), n)
    os.execv("/bin/sleep", [sys.argv[1] + "-stays", "15"])
sys.stdin.read()
"""
_HARMFUL = (
    "\x1b]0;title\x07",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[H",
    "\x1bP+q544e\x1b\\",
    "\x9b31m",
    "\x9d0;title\x9c",
    "\x07\x08\x08\x08",
    "all is well\rnot at all",
    "\u202egpj.exe",
    "\x1b[",
    "\x1b",
)


async def _plant(field: Field, target: object, name: str) -> None:
    """Make a link in the workspace from inside the box."""
    await field.box.exec(["rm", "-rf", name])
    await field.box.exec(["ln", "-s", str(target), name])


async def _get(field: Field, path: str) -> str:
    found = await field.box.get(path, 4096)
    if field.ground.canary.encode() in found:
        return f"the host read the private key as {path}"
    raise Blocked("something else was read")


async def _put(field: Field, path: str, landed: Path) -> str:
    try:
        await field.box.put(path, b"put by the host")
    except OSError as error:
        raise Blocked(f"{error.strerror}") from error
    if landed.exists():
        landed.unlink()
        return f"the host wrote {landed.name} outside the workspace"
    raise Blocked("it landed in the workspace")


def _outside(field: Field, name: str) -> str:
    return os.path.relpath(field.ground.home / ".ssh" / name, field.ground.workspace)


@trial("files")
async def host_collector_openat2(field: Field) -> str:
    """Have the host fetch a result that is a link to the private key."""
    await _plant(field, field.ground.home / ".ssh" / _KEY, "result.txt")
    return await _get(field, "result.txt")


@trial("files")
async def get_linked_folder(field: Field) -> str:
    """The same with a link in the place of a folder on the way."""
    await _plant(field, field.ground.home / ".ssh", "results")
    return await _get(field, f"results/{_KEY}")


@trial("files")
async def get_proc_link(field: Field) -> str:
    """The same with a link through /proc/self, which means the host when it follows it."""
    await _plant(field, f"/proc/self/root{field.ground.home}/.ssh/{_KEY}", "magic")
    return await _get(field, "magic")


@trial("files")
async def get_traversal(field: Field) -> str:
    """Have the host fetch a file by a path that climbs out."""
    return await _get(field, _outside(field, _KEY))


@trial("files")
async def get_absolute(field: Field) -> str:
    """Have the host fetch a file by its absolute path."""
    return await _get(field, str(field.ground.home / ".ssh" / _KEY))


@trial("files")
async def get_pipe(field: Field) -> str:
    """Have the host wait for ever for a pipe in the place of a result."""
    await field.box.exec(["mkfifo", "pipe"])
    path, hung = field.ground.workspace / "pipe", True
    async with anyio.create_task_group() as group:

        async def fetch() -> None:
            nonlocal hung
            with suppress(HoldfastError):
                await field.box.get("pipe", 4096)
            hung = False
            group.cancel_scope.cancel()

        group.start_soon(fetch)
        await anyio.sleep(_WAITS)
        late = hung
        with suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        if late:
            return f"the host still waited after {_WAITS:g} s"
    raise Blocked("the host did not wait")


@trial("files")
async def put_through_link(field: Field) -> str:
    """Have the host write through a link that was planted where it puts a file."""
    landed = field.ground.outside / "put-through"
    await _plant(field, landed, "note")
    return await _put(field, "note", landed)


@trial("files")
async def put_linked_folder(field: Field) -> str:
    """The same with a link in the place of a folder on the way."""
    await _plant(field, field.ground.outside, "notes")
    return await _put(field, "notes/put-below", field.ground.outside / "put-below")


@trial("files")
async def put_traversal(field: Field) -> str:
    """Have the host unpack a file whose name climbs out, as from an archive."""
    return await _put(field, "../outside/put-climbed", field.ground.outside / "put-climbed")


@trial("files")
async def put_hidden_traversal(field: Field) -> str:
    """The same with the climb in the middle of the name."""
    landed = field.ground.outside / "put-hidden"
    await field.box.exec(["mkdir", "-p", "deep"])
    return await _put(field, "deep/../../outside/put-hidden", landed)


@trial("files")
async def put_absolute(field: Field) -> str:
    """The same with an absolute name."""
    landed = field.ground.outside / "put-absolute"
    return await _put(field, str(landed), landed)


@trial("files")
async def put_race(field: Field) -> str:
    """Swap a folder for a link again and again while the host puts files into it."""
    if field.no_python:
        raise NotHere(field.no_python)
    landed = field.ground.outside / "raced"
    words = ["python3", "-I", "-S", "-c", _FLIP, str(field.ground.outside)]
    async with field.box.start(words):
        tries, until = 0, anyio.current_time() + _RACE
        while anyio.current_time() < until:
            tries += 1
            with suppress(HoldfastError, OSError):
                await field.box.put("flip/raced", b"put by the host")
            if landed.exists():
                landed.unlink()
                return "the host wrote outside the workspace"
            await anyio.sleep(_PAUSE)
    raise Blocked(f"{tries} times nothing landed outside")


@trial("files")
async def read_linked_folder(field: Field) -> str:
    """Have a file tool of the host read through a link in the place of a folder."""
    await _plant(field, field.ground.home / ".ssh", "docs")
    found = await field.means.read(field.ground.workspace, f"docs/{_KEY}")
    if field.ground.canary.encode() in found:
        return "the tool read the private key"
    raise Blocked("the tool did not follow it")


@trial("files")
async def read_linked_file(field: Field) -> str:
    """Have a file tool of the host read through a link in the place of a file."""
    await _plant(field, field.ground.home / ".ssh" / _KEY, "readme")
    found = await field.means.read(field.ground.workspace, "readme")
    if field.ground.canary.encode() in found:
        return "the tool read the private key"
    raise Blocked("the tool did not follow it")


async def _cat(field: Field, path: str, cwd: str) -> str:
    out = await field.box.exec(["cat", path], cwd=cwd)
    if field.ground.canary.encode() in out.stdout:
        return "the command read the private key"
    raise Blocked(out.stderr.decode(errors="replace").strip() or "it found nothing")


@trial("files")
async def exec_in_link(field: Field) -> str:
    """Have a command started in a folder that is a link out of the workspace."""
    await _plant(field, field.ground.home, "away")
    return await _cat(field, f".ssh/{_KEY}", "away")


@trial("files")
async def exec_above(field: Field) -> str:
    """Have a command started in a folder above the workspace."""
    return await _cat(field, f"home/.ssh/{_KEY}", "..")


@trial("environment")
async def loader_steered(field: Field) -> str:
    """Steer what starts the box by variables that are meant for the command in it."""
    trace = field.ground.outside / "trace"
    steering = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(trace), "TMPDIR": "/nowhere"}
    await field.box.exec(["true"], environment=steering)
    found = list(field.ground.outside.glob("trace.*"))
    for path in found:
        path.unlink()
    if found:
        return "the loader of a program outside obeyed them"
    raise Blocked("nothing outside obeyed them")


async def _in_new(field: Field, spec: BoxSpec, words: Sequence[str]) -> bytes:
    box = await field.kind.create(spec)
    try:
        return (await box.exec(list(words))).stdout
    finally:
        await box.destroy()


def _spec(field: Field, name: str) -> BoxSpec:
    """A workspace of its own for a trial."""
    workspace = field.ground.base / name
    workspace.mkdir(exist_ok=True)
    return spec_of(field.ground, "escape", workspace)


@trial("files")
async def hidden_read(field: Field) -> str:
    """Read a folder of the workspace that is to be hidden."""
    spec = _spec(field, "hiding")
    hidden = spec.workspace / ".holdfast"
    hidden.mkdir()
    (hidden / "key").write_text(field.ground.canary)
    look = (
        "cat .holdfast/key; mv .holdfast moved; cat moved/key; cp -r .holdfast copy; cat copy/key"
    )
    said = await _in_new(field, replace(spec, hidden=(hidden,)), ["sh", "-c", look])
    if field.ground.canary.encode() in said:
        return "it was read"
    raise Blocked("it is empty inside")


@trial("files")
async def read_only_swapped(field: Field) -> str:
    """Have a link shown that was planted in the place of a folder which is to be read-only."""
    spec = _spec(field, "swapping")
    shown = spec.workspace / "shown"
    shown.symlink_to(field.ground.home)
    words = ["cat", f"{shown}/.ssh/{_KEY}"]
    said = await _in_new(field, replace(spec, read_only=(shown,)), words)
    if field.ground.canary.encode() in said:
        return "the private key is shown"
    raise Blocked("it is not shown")


@trial("files")
async def workspace_is_system(field: Field) -> str:
    """Have the whole system given as the workspace."""
    said = await _in_new(field, spec_of(field.ground, "escape", Path("/")), ["echo", "made"])
    if b"made" in said:
        return "a box was made of the root folder"
    raise Blocked("no box came of it")


@trial("files")
async def scratch_outlives(field: Field) -> str:
    """Leave something in /tmp for the next box."""
    mark, spec = f"/tmp/{field.ground.canary}-left", _spec(field, "leaving")
    await _in_new(field, spec, ["sh", "-c", f"echo {field.ground.canary} > {mark}"])
    said = await _in_new(field, spec, ["cat", mark])
    Path(mark).unlink(missing_ok=True)
    if field.ground.canary.encode() in said:
        return "the next box finds it"
    raise Blocked("it is gone with its box")


async def _stays(field: Field, how: str) -> str:
    """A process that hides from its parent, and the box ended around it."""
    if field.no_python:
        raise NotHere(field.no_python)
    mark = f"{field.ground.canary}-{how}"
    box = await field.kind.create(_spec(field, how))
    try:
        async with box.start(["python3", "-I", "-S", "-c", _STAYS, mark]):
            shown = await seen(f"{mark}-stays")
            if how == "killed":
                await box.kill()
            elif how == "destroyed":
                await box.destroy()
        await anyio.sleep(_MOMENT)
        found = await to_thread.run_sync(running, f"{mark}-stays")
    finally:
        await box.destroy()
    if shown is None:
        raise NotHere("no process of this box is in sight of the host")
    if found is None:
        raise Blocked("it is gone")
    with suppress(ProcessLookupError):
        os.kill(found[0], signal.SIGKILL)
    return "it lives on"


@trial("pids")
async def survives_end(field: Field) -> str:
    """Go on when a command that was talked with has ended."""
    return await _stays(field, "ended")


@trial("pids")
async def survives_kill(field: Field) -> str:
    """Go on when every command of the box was killed."""
    return await _stays(field, "killed")


@trial("pids")
async def survives_destroy(field: Field) -> str:
    """Go on when the box was destroyed."""
    return await _stays(field, "destroyed")


@trial("memory")
async def output_flood(field: Field) -> str:
    """Fill the host's memory by output."""
    out = await field.box.exec(["head", "-c", str(LIMITS.output * 8), "/dev/zero"])
    kept = len(out.stdout) + len(out.stderr)
    if kept > LIMITS.output:
        return f"the host kept {kept >> 20} MiB"
    raise Blocked(f"the host kept {kept >> 10} KiB" + (" and says so" if out.cut else ""))


@trial("memory")
async def output_both(field: Field) -> str:
    """The same on stdout and stderr at once, each below the limit."""
    flood = f"head -c {LIMITS.output * 3 // 4} /dev/zero"
    out = await field.box.exec(["sh", "-c", f"{flood}; {flood} >&2; {flood}"])
    kept = len(out.stdout) + len(out.stderr)
    if kept > LIMITS.output:
        return f"the host kept {kept >> 10} KiB"
    raise Blocked(f"the host kept {kept >> 10} KiB")


@trial("pids")
async def stdin_flood(field: Field) -> str:
    """Have the host wait for a command that reads nothing of what it is given."""
    with anyio.move_on_after(_WAITS * 3) as scope:
        await field.box.exec(["sleep", "30"], stdin=b"x" * (16 << 20), seconds=1.0)
    if scope.cancelled_caught:
        return "the host waited longer than it had said"
    raise Blocked("it was ended in time")


def _bomb(field: Field) -> Path:
    path = field.ground.workspace / "bomb.gz"
    piece, size = b"\0" * (1 << 20), LIMITS.disk * 2 + (2 << 20)
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(size >> 20):
            file.write(piece)
    return path


@trial("disk")
async def zip_bomb(field: Field) -> str:
    """Unpack a small file that is a large one."""
    path = await to_thread.run_sync(_bomb, field)
    await field.box.exec(["sh", "-c", "gzip -dc bomb.gz > unpacked"])
    size, _ = await to_thread.run_sync(used, field.ground.workspace)
    for each in (path, field.ground.workspace / "unpacked"):
        each.unlink(missing_ok=True)
    if size > LIMITS.disk * 2:
        return f"the workspace takes {size >> 20} MiB of the disk"
    raise Blocked(f"the workspace takes {size >> 20} MiB of the disk")


@trial("memory")
async def zip_bomb_output(field: Field) -> str:
    """Have the host read what a small file unpacks to."""
    path = await to_thread.run_sync(_bomb, field)
    out = await field.box.exec(["gzip", "-dc", "bomb.gz"])
    path.unlink(missing_ok=True)
    if len(out.stdout) > LIMITS.output:
        return f"the host kept {len(out.stdout) >> 20} MiB"
    raise Blocked(f"the host kept {len(out.stdout) >> 10} KiB")


@trial("system")
async def terminal_escapes(field: Field) -> str:
    """Move the cursor, set the clipboard or turn the text on the terminal of whoever looks."""
    out = await field.box.exec(["printf", "%s", "".join(_HARMFUL)])
    shown = field.means.plain(out.stdout.decode(errors="replace"))
    bad = [each for each in shown if each in "\x1b\x07\x08\r\u202e" or "\x80" <= each <= "\x9f"]
    if bad:
        return f"{len(bad)} signs reach the terminal that steer it"
    raise Blocked("nothing that steers a terminal is left")
