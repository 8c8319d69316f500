"""What `holdfast doctor` looks at."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import anyio

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.offline import OFFLINE
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.adapters.tools.mcp import standing
from holdfast.adapters.vaults.files import FileVault
from holdfast.config import Config, to_servers
from holdfast.config.secrets import to_passphrase
from holdfast.core.error import Broken, Refused, Unavailable
from holdfast.engine.clock import SystemClock
from holdfast.ports.box import Boxes
from holdfast.runtime import doctor

from .boxes import box_pool
from .home import DATABASE, VAULT, only_one, prepare
from .models import models_config


async def examine(config: Config, environment: Mapping[str, str]) -> list[doctor.Finding]:
    """What `holdfast doctor` says."""
    vault = FileVault(config.home / VAULT, passphrase=to_passphrase(config))
    problems = vault.problems()
    kept = 0 if problems else len(vault.names())
    catalog = Catalog(models_config(config, environment, vault))
    try:
        found = await catalog.detect()
    finally:
        await catalog.close()
    model = doctor.model(found.line, offline=found.using == OFFLINE)
    noted = [(one.name, one.note) for one in found.found if one.note]
    return [
        *await _examined(config, environment, model),
        *doctor.vault(kept, problems),
        *doctor.noted(noted),
        *doctor.doubted(catalog.doubts()),
        *doctor.servers(standing.states(to_servers(config), standing.books(config.home))),
    ]


async def _examined(
    config: Config, environment: Mapping[str, str], model: doctor.Finding
) -> list[doctor.Finding]:
    boxes = box_pool(config, environment)
    try:
        return await _with(boxes, config, model)
    finally:
        await boxes.close()


async def _with(boxes: Boxes, config: Config, model: doctor.Finding) -> list[doctor.Finding]:
    try:
        with only_one(config.home):
            now = SystemClock().now()
            async with open_sqlite(config.home / DATABASE, now=now) as journal:
                return await doctor.examine(config.home, journal, boxes, model, config.warnings)
    except Refused:
        return await doctor.examine(config.home, None, boxes, model, config.warnings)
    except (Broken, Unavailable) as error:
        bad = doctor.Finding(name="history", level="fail", detail=str(error), hint=error.hint)
        rest = await doctor.examine(config.home, None, boxes, model, config.warnings)
        return [bad, *(finding for finding in rest if finding.name != "history")]


def doctor_command(config: Config, environment: Mapping[str, str], *, fix: bool) -> int:
    """Print the findings as JSON; 1 if any is a failure."""
    prepare(config.home)
    fixed = doctor.fixed(config.home) if fix else []
    findings = [*fixed, *anyio.run(examine, config, environment)]
    settings = [row._asdict() for row in config.describe()]
    told = {
        "findings": [
            {"name": f.name, "level": f.level, "detail": f.detail, "hint": f.hint} for f in findings
        ],
        "settings": settings,
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return int(any(finding.level == "fail" for finding in findings))
