"""The tools of trusted servers, as agents have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from holdfast.adapters.tools.output import Fitted, Spool
from holdfast.core.mcp import ServerSpec
from holdfast.ports.mcp import ServerTool as ToolRow
from holdfast.ports.tools import Tool

from . import standing
from .library import reading_tools
from .lock import Entry
from .offers import Offer
from .tool import Means, ServerTool, called, described, prefix_of


class Offering(Struct, frozen=True, kw_only=True):
    """Makes them: without those that are `absent` just now, and with no name that is `taken`."""

    means: Means
    spool: Spool
    absent: Mapping[str, frozenset[str]]
    taken: frozenset[str]
    everyone: tuple[ServerSpec, ...]

    def tools(self, trusted: Iterable[tuple[ServerSpec, Entry]]) -> dict[str, Tool]:
        found: dict[str, Tool] = {}
        for spec, entry in trusted:
            for tool in self._of(spec, entry, self.taken | set(found)):
                found[tool.spec.name] = Fitted(tool, self.spool)
        return found

    def _of(self, spec: ServerSpec, entry: Entry, taken: frozenset[str]) -> list[Tool]:
        absent = self.absent.get(spec.name, frozenset())
        found: list[Tool] = [
            ServerTool(row.tool, spec, standing.agreed(spec, offer), self.means)
            for row, offer in rows(spec, entry.offers, set(taken), self.everyone)
            if row.offered and offer.name not in absent
        ]
        if entry.resources and "*" in spec.tools:
            names = taken | {one.spec.name for one in found}
            found += reading_tools(spec, self.means, names, updates=entry.updates)
        return found


def rows(
    spec: ServerSpec, offers: Sequence[Offer], names: set[str], everyone: Iterable[ServerSpec]
) -> list[tuple[ToolRow, Offer]]:
    """Each tool as agents have it. One whose every name is taken is not offered."""
    found: list[tuple[ToolRow, Offer]] = []
    own, others = prefix_of(spec), map(prefix_of, everyone)
    foreign = tuple(other for other in others if other != own and other.startswith(own))
    for offer in offers:
        name = called(spec, offer.name, names, foreign)
        agreed = standing.agreed(spec, offer)
        row = ToolRow(
            name=offer.name,
            tool=name,
            effect=agreed.effect,
            description=described(spec, agreed),
            offered=name not in names and standing.wanted(spec, offer, name),
        )
        names.add(name)
        found.append((row, offer))
    return found
