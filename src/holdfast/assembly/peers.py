"""What agents elsewhere get from the house: the way out, and what a task has heard."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from holdfast.adapters.tools.a2a.peers import SavedPeers, problem
from holdfast.adapters.tools.a2a.spec import PeerSpec
from holdfast.adapters.tools.a2a.tool import Means
from holdfast.adapters.tools.output import Spool
from holdfast.config import Config
from holdfast.core.error import Invalid
from holdfast.core.gate.hearing import hearing
from holdfast.core.ids import TaskId
from holdfast.engine.record import Recorder
from holdfast.ports.blobs import Blobs
from holdfast.ports.tools import Tool

from .outside import Outside


def peers_for(
    config: Config, out: Outside, recorder: Recorder, kept: tuple[Blobs, Spool], own: Sequence[Tool]
) -> SavedPeers:
    """All peers of a house; none gets the name of a tool that is our `own`.

    Those of the configuration are as it was when the house began.
    """
    blobs, spool = kept

    async def sources(task: TaskId) -> Sequence[str]:
        return sorted(hearing(await recorder.load(task)).influences)

    means = Means(egress=out.egress, reach=out.of_tool, sources=sources, blobs=blobs)
    specs = tuple(_spec(name, row.told(name)) for name, row in config.a2a.peers.items())
    taken = frozenset(tool.spec.name for tool in own)
    return SavedPeers(config.home, specs, means, spool, taken)


def _spec(name: str, told: dict[str, object]) -> PeerSpec:
    spec = msgspec.convert(told, PeerSpec)
    if wrong := problem(spec):
        raise Invalid(f"a2a.peers.{name}: {wrong}", code="bad_config")
    return spec
