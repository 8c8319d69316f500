"""The image of a container, made here: no registry is asked.

By default it is empty: a few folders and links into which the host's own programs are mounted, so
it is made in a moment and can do what the host can. `build:SUITE` is a small Debian of its own,
put together by mmdebstrap. Any other name is an image that the engine has already.
"""

from __future__ import annotations

import hashlib
import io
import logging
import shutil
import tarfile
import tempfile
from pathlib import Path

import anyio
from msgspec import Struct

from holdfast.adapters.boxes.programs import ran
from holdfast.adapters.boxes.root import SYSTEM
from holdfast.core.error import Invalid, Unavailable

from .engine import Engine, environment

RECIPE_LABEL = "holdfast.recipe"
BUILT = "build:"
_FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp", "usr", "var")
_PACKAGES = "python3,ca-certificates,git,curl,wget,jq,ripgrep,procps,less,patch"
_BUILD_SECONDS, _IMPORT_SECONDS = 900.0, 300.0
_log = logging.getLogger("holdfast.boxes")


class Image(Struct, frozen=True, kw_only=True):
    """An image that is there. With `host_system`, the host's programs are mounted into it."""

    name: str
    host_system: bool


async def ready(engine: Engine, wanted: str) -> Image:
    """The image that `wanted` means, built when it is missing or its recipe is another now."""
    if wanted.startswith(BUILT):
        return await _built(engine, wanted.removeprefix(BUILT))
    if wanted:
        return await _theirs(engine, wanted)
    content = _empty()
    name = "holdfast-host:latest"
    await _imported(engine, name, hashlib.sha256(content).hexdigest(), content)
    return Image(name=name, host_system=True)


async def _theirs(engine: Engine, name: str) -> Image:
    found = await engine.image(name)
    if found is None:
        hint = f"pull it: `{engine.program} pull {name}`, or leave `container.image` empty"
        raise Unavailable(f"there is no image {name}", hint=hint)
    if found.volumes:
        hint = "use an image without VOLUME"
        raise Invalid(f"the image {name} declares volumes, which no limit would bound", hint=hint)
    return Image(name=name, host_system=False)


async def _built(engine: Engine, suite: str) -> Image:
    recipe = hashlib.sha256(f"{suite} {_PACKAGES}".encode()).hexdigest()
    name = f"holdfast-{suite}:latest"
    if not await _current(engine, name, recipe):
        _log.warning("building the image %s from the %s packages of Debian", name, suite)
        with tempfile.TemporaryDirectory() as folder:
            content = await _bootstrapped(suite, Path(folder) / "image.tar")
        await _imported(engine, name, recipe, content)
    return Image(name=name, host_system=False)


async def _bootstrapped(suite: str, place: Path) -> bytes:
    program = shutil.which("mmdebstrap")
    if program is None:
        hint = "install it: `apt-get install mmdebstrap`, or leave `container.image` empty"
        raise Unavailable("an image is built by mmdebstrap, which is not installed", hint=hint)
    words = [program, "--variant=minbase", f"--include={_PACKAGES}", suite, str(place)]
    with anyio.move_on_after(_BUILD_SECONDS):
        done = await ran(words, environment())
        if done.returncode == 0:
            return await anyio.Path(place).read_bytes()
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        raise Unavailable(f"the image cannot be built: {lines[-1]}")
    raise Unavailable(f"the image was not built in {_BUILD_SECONDS:.0f} s")


async def _imported(engine: Engine, name: str, recipe: str, content: bytes) -> None:
    if await _current(engine, name, recipe):
        return
    label = f"LABEL {RECIPE_LABEL}={recipe}"
    words = ("import", "--change", label, "-", name)
    await engine.call(*words, stdin=content, seconds=_IMPORT_SECONDS)
    _log.info("the image %s was made", name)


async def _current(engine: Engine, name: str, recipe: str) -> bool:
    found = await engine.image(name)
    return found is not None and (found.labels or {}).get(RECIPE_LABEL) == recipe


def _empty() -> bytes:
    """Folders to mount upon, and the host's links; the same bytes on the same host."""
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in (*_FOLDERS, *(path.strip("/") for path in SYSTEM)):
            path, entry = Path("/", name), tarfile.TarInfo(name)
            entry.mode = 0o755
            if f"/{name}" not in SYSTEM or (path.is_dir() and not path.is_symlink()):
                entry.type = tarfile.DIRTYPE
            elif path.is_symlink():
                entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
            else:
                continue
            tar.addfile(entry)
    return kept.getvalue()
