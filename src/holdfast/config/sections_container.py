"""The table `[container]`."""

from __future__ import annotations

from typing import Literal

from .section import Section, word

_PLATFORMS = Literal["", "systrap", "kvm", "ptrace"]


class Container(Section):
    """How boxes of the kinds `docker`, `podman` and `gvisor` are made."""

    image: str = word(
        "",
        "Empty: the host's own programs, mounted into an empty image. `build:bookworm`: a small "
        "Debian put together by mmdebstrap. Else an image that the engine has.",
    )
    docker_host: str = word(
        "", "The socket of the Docker daemon, as `docker --host` takes it; empty: its own choice."
    )
    runtime: str = word(
        "", "What runs Podman's containers, `crun` or `runc`; empty: Podman's own choice."
    )
    gvisor_platform: _PLATFORMS = word(
        "", "How gVisor catches system calls; empty: its own choice. `ptrace` works anywhere."
    )
