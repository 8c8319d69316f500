"""Which files of this system a box shows: those of a few packages, and of what they need."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from holdfast.core.error import Unavailable

WANTED = ("python3", "git", "ca-certificates", "curl", "less", "procps", "unzip", "xz-utils")
"""Besides what Debian calls essential; those that the host has not are left out."""
_DATABASE = Path("/var/lib/dpkg")
_FIELD = re.compile(
    r"^(Package|Version|Status|Essential|Depends|Pre-Depends|Provides|Architecture): (.*)$",
    re.MULTILINE,
)
_UNREAD = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/info/", "/usr/share/locale/")


class Package(Struct, frozen=True, kw_only=True):
    """An installed package."""

    name: str
    version: str
    architecture: str
    essential: bool
    needs: tuple[tuple[str, ...], ...]
    provides: tuple[str, ...]


def chosen(database: Path = _DATABASE) -> tuple[Package, ...]:
    """The packages of a box, by name. Raises `Unavailable` on a system without dpkg."""
    try:
        text = (database / "status").read_text("utf-8", "replace")
    except OSError as error:
        raise Unavailable(
            "the root of a microvm is made of Debian packages, and this system has none",
            hint="name an ext4 image with python3 in it as microvm.root",
        ) from error
    packages = {each.name: each for each in map(_package, text.split("\n\n")) if each}
    provided = {name: each.name for each in packages.values() for name in each.provides}
    waiting = [name for name, each in packages.items() if each.essential]
    waiting += [name for name in WANTED if name in packages]
    found: dict[str, Package] = {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = packages[name]
            waiting += _needed(packages[name], packages, provided)
    return tuple(found[name] for name in sorted(found))


def files(packages: Iterable[Package], database: Path = _DATABASE) -> Iterator[str]:
    """The paths below /usr of what the packages have installed, folders before what is in them."""
    for package in packages:
        for name in (package.name, f"{package.name}:{package.architecture}"):
            listing = database / "info" / f"{name}.list"
            if listing.exists():
                for line in listing.read_text("utf-8", "surrogateescape").splitlines():
                    yield from _shown(line)


def _shown(path: str) -> Iterator[str]:
    head, last = os.path.split(path)
    real = f"{os.path.realpath(head)}/{last}"
    if real.startswith("/usr/") and not real.startswith(_UNREAD):
        yield real
        compiled = f"{real}/__pycache__"
        if "/python3" in real and Path(compiled).is_dir():
            yield compiled
            yield from (f"{compiled}/{name}" for name in os.listdir(compiled))  # noqa: PTH208


def _package(paragraph: str) -> Package | None:
    fields = dict(_FIELD.findall(paragraph))
    if not fields.get("Status", "").endswith(" installed"):
        return None
    needs = f"{fields.get('Depends', '')},{fields.get('Pre-Depends', '')}"
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields.get("Architecture", ""),
        essential=fields.get("Essential") == "yes",
        needs=tuple(_names(group, "|") for group in needs.split(",")),
        provides=_names(fields.get("Provides", ""), ","),
    )


def _names(text: str, separator: str) -> tuple[str, ...]:
    words = (word.split() for word in text.split(separator))
    return tuple(word[0].partition(":")[0] for word in words if word)


def _needed(
    package: Package, packages: Mapping[str, Package], provided: Mapping[str, str]
) -> Iterator[str]:
    for group in package.needs:
        there = [name if name in packages else provided.get(name, "") for name in group]
        yield from [name for name in there if name][:1]
