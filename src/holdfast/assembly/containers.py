"""The kinds of boxes that are containers, as the configuration wants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from holdfast.adapters.boxes.container.kind import (
    ContainerBoxes,
    docker_boxes,
    gvisor_boxes,
    podman_boxes,
)
from holdfast.adapters.boxes.pool import Pool
from holdfast.config import Config
from holdfast.engine.clock import SystemClock
from holdfast.ports.box import Boxes


async def look_after(boxes: Boxes) -> None:
    """Where boxes are containers, make those again that are ill; until cancelled."""
    if isinstance(boxes, Pool) and isinstance(boxes.kind, ContainerBoxes):
        await boxes.kind.watch(SystemClock())


def container_kinds(config: Config) -> Mapping[str, Callable[[], ContainerBoxes]]:
    wanted, home = config.container, config.home
    image = wanted.image
    return {
        "docker": partial(docker_boxes, home, image=image, host=wanted.docker_host),
        "podman": partial(podman_boxes, home, image=image, runtime=wanted.runtime),
        "gvisor": partial(gvisor_boxes, home, image=image, platform=wanted.gvisor_platform),
    }
