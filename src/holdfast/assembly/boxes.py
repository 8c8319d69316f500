"""The kinds of boxes there are, by name, and the one that the configuration chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.adapters.boxes.connected import Attach
from holdfast.adapters.boxes.degraded import DegradedBoxes
from holdfast.adapters.boxes.pool import Pool
from holdfast.adapters.tools.execute import BoxOptions
from holdfast.config import Config, to_box_limits
from holdfast.ports.box import BoxKind

from .containers import container_kinds


def box_kinds(config: Config) -> Mapping[str, Callable[[], BoxKind]]:
    """How each kind is made, by the name it has in `box.kind`."""
    return {
        "bubblewrap": BubblewrapBoxes,
        "degraded": DegradedBoxes,
        **container_kinds(config),
    }


def chosen_kind(config: Config) -> BoxKind:
    return box_kinds(config)[config.box.kind]()


def box_pool(config: Config, attach: Attach = lambda box, owner: None) -> Pool:
    return Pool(
        chosen_kind(config),
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
