"""The kinds of boxes there are, by name, and the one that the configuration chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.adapters.boxes.connected import Attach
from holdfast.adapters.boxes.degraded import DegradedBoxes
from holdfast.adapters.boxes.docker_sandbox import DockerSandboxBoxes
from holdfast.adapters.boxes.microvm.kind import MicroVMBoxes
from holdfast.adapters.boxes.pool import Pool
from holdfast.adapters.tools.execute import BoxOptions
from holdfast.config import Config, to_box_limits
from holdfast.ports.box import BoxKind

from .containers import container_kinds

_DOCKER = ("HOME", "PATH", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR")


def box_kinds(
    config: Config, environment: Mapping[str, str]
) -> Mapping[str, Callable[[], BoxKind]]:
    """How each kind is made, by the name it has in `box.kind`."""
    machine = config.microvm
    return {
        "bubblewrap": BubblewrapBoxes,
        **container_kinds(config),
        "microvm": partial(
            MicroVMBoxes,
            config.home,
            kernel=Path(machine.kernel) if machine.kernel else None,
            root=Path(machine.root) if machine.root else None,
            tcg=machine.emulate,
        ),
        "docker-sandbox": lambda: DockerSandboxBoxes(environment=_for_docker(environment)),
        "degraded": DegradedBoxes,
    }


def _for_docker(environment: Mapping[str, str]) -> dict[str, str]:
    """What Docker's own program needs to find its configuration; never a key of ours."""
    return {name: environment[name] for name in _DOCKER if name in environment}


def box_pool(
    config: Config,
    environment: Mapping[str, str],
    attach: Attach = lambda box, owner: None,
) -> Pool:
    return Pool(
        box_kinds(config, environment)[config.box.kind](),
        attach,
        idle_seconds=config.box.idle_seconds,
        at_once=config.box.at_once,
        spares=config.box.spare,
    )


def box_options(config: Config) -> BoxOptions:
    return BoxOptions(
        read_only=tuple(Path(path) for path in config.box.read_only),
        environment=config.box.environment,
        hidden=(config.home,),
        limits=to_box_limits(config),
        requires=config.box.requires,
    )
