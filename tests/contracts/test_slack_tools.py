"""Every tool for Slack keeps every promise of a tool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from holdfast.testing.tool_contract import CLAUSES, Clause
from tests.adapters.slack_stage import logged_in

_STAMP = "1900000001.000100"
CASES: Mapping[str, Mapping[str, Any]] = {
    "slack_whoami": {},
    "slack_channel_history": {"channel": "C0GENERAL", "limit": 5},
    "slack_channel_replies": {"channel": "C0GENERAL", "ts": _STAMP},
    "slack_search_messages": {"query": "plan"},
    "slack_search_files": {"query": "plan", "count": 2},
    "slack_search_users": {"query": "bob"},
    "slack_list_users": {"limit": 2},
    "slack_user_info": {"user": "U0BOB"},
    "slack_permalink": {"channel": "C0GENERAL", "message_ts": _STAMP},
    "slack_post_as_me": {"channel": "C0GENERAL", "text": "words"},
    "slack_dm_self": {"text": "words"},
    "slack_open_dm": {"users": ["U0BOB"]},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_a_tool_keeps_its_promise(clause: Clause, name: str, tmp_path: Path):
    async def tried() -> None:
        async with logged_in(tmp_path / "outputs") as stage:
            tool = stage.offered.get(name)
            assert tool is not None
            await clause(tool, CASES[name], replace(stage.job, workspace=tmp_path))

    anyio.run(tried)


def test_every_tool_is_tried(tmp_path: Path):
    async def names() -> set[str]:
        async with logged_in(tmp_path) as stage:
            return {tool.spec.name for tool in stage.offered.all()}

    assert anyio.run(names) == set(CASES)
