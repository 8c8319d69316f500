"""The command line of a container engine: the only way in which we talk to one."""

from __future__ import annotations

import os
import pwd
import shutil
from typing import Literal

import msgspec
from anyio import fail_after
from msgspec import Struct

from holdfast.adapters.boxes.programs import ran
from holdfast.core.error import Unavailable

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOG_LINES = "15"
_HINTS = {
    "docker": "install it, e.g. `apt-get install docker.io`, and see that `docker info` answers",
    "podman": "install it, e.g. `apt-get install podman runc`",
}


class _State(Struct, frozen=True, kw_only=True):
    running: bool = msgspec.field(name="Running", default=False)
    process: int = msgspec.field(name="Pid", default=0)


class _Config(Struct, frozen=True, kw_only=True):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)
    volumes: dict[str, object] | None = msgspec.field(name="Volumes", default=None)


class _Image(Struct, frozen=True, kw_only=True):
    config: _Config | None = msgspec.field(name="Config", default=None)


_STATE, _IMAGE = msgspec.json.Decoder(_State), msgspec.json.Decoder(list[_Image])


class Engine(Struct, frozen=True, kw_only=True):
    """Which engine, and how it is called. `options` stand before its subcommand.

    `runtime` is what runs its containers, with `runtime_options`; empty: what it chooses itself.
    """

    name: Literal["docker", "podman"]
    program: str
    options: tuple[str, ...] = ()
    runtime: str = ""
    runtime_options: tuple[str, ...] = ()

    async def call(self, *words: str, stdin: bytes = b"", seconds: float = 60.0) -> bytes:
        """What it says on stdout. Raises `Unavailable` with the last line of its complaint."""
        program = shutil.which(self.program, path=None if "/" in self.program else _PATH)
        if program is None:
            raise Unavailable(f"{self.name} is not installed", hint=_HINTS[self.name])
        try:
            with fail_after(seconds):
                done = await ran([program, *self._global(), *words], environment(), stdin)
        except TimeoutError:
            raise Unavailable(f"{self.name} {words[0]} does not end") from None
        except OSError as error:
            raise Unavailable(f"{self.name} cannot be started: {error.strerror}") from error
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            complaint = next((one for one in lines if "rror" in one), lines[-1])
            raise Unavailable(f"{self.name} {words[0]}: {complaint}", hint=_HINTS[self.name])
        return done.stdout

    async def process(self, container: str) -> int:
        """The number of its first process. Raises `Unavailable` when it does not run."""
        said = await self.call("inspect", "--type", "container", "-f", "{{json .State}}", container)
        state = _STATE.decode(said)
        if not state.running or state.process <= 0:
            raise Unavailable("it ended at once")
        return state.process

    async def logs(self, container: str) -> str:
        """Its last words, for a person."""
        try:
            said = await self.call("logs", "--tail", _LOG_LINES, container, seconds=10)
        except Unavailable as error:
            return str(error)
        return said.decode(errors="replace").strip()

    async def image(self, name: str) -> _Config | None:
        """What an image says about itself; None when there is no such image."""
        try:
            found = _IMAGE.decode(await self.call("image", "inspect", name))
        except Unavailable as error:
            if "o such image" in str(error) or "not known" in str(error):
                return None
            raise
        return (found[0].config or _Config()) if found else None

    def _global(self) -> tuple[str, ...]:
        if self.name == "docker" or not self.runtime:
            return self.options
        flags = (word for one in self.runtime_options for word in ("--runtime-flag", one))
        return (*self.options, "--runtime", self.runtime, *flags)


def environment() -> dict[str, str]:
    """What a program around an engine needs to find its settings; nothing of ours."""
    user = os.geteuid()
    try:
        known = pwd.getpwuid(user)
        name, home = known.pw_name, known.pw_dir
    except KeyError:
        name, home = str(user), "/"
    where = {"HOME": home, "XDG_RUNTIME_DIR": f"/run/user/{user}"}
    return {"PATH": _PATH, "USER": name, "LANG": "C.UTF-8", **where}
