"""What a house is made of besides its home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.connections import SavedConnections
from holdfast.adapters.vaults.opening import Opened
from holdfast.config import Config


@dataclass(frozen=True, kw_only=True)
class Given:
    """The parts that are there before it: what a person wrote, keeps and has connected."""

    config: Config
    environment: Mapping[str, str]
    catalog: Catalog
    connections: SavedConnections
    kept: Opened
