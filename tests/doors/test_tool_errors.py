"""What a tool says when it fails is kept without the secrets in it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.doors.undoing import OPEN, Script, Works, run
from tests.whole_house import inhabited

pytestmark = pytest.mark.anyio

KEY = "sk-proj-0aB1cD2eF3gH4iJ5kL6mN7oP"


async def test_a_key_in_a_tools_error_is_in_no_store_and_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Of keys that the vault knows, in whatever spelling; a shape alone is hidden from models."""
    home, script = tmp_path / "home", Script()
    async with inhabited(home, script, OPEN) as lives:
        works = Works(lives, script)
        body = {"name": "openai", "value": KEY}
        assert (await lives.local.post("/api/v1/secrets", json=body)).status_code < 300
        half = len(KEY) // 2
        task = await works.did(
            run(f"printf '%s%s\\n' {KEY[:half]} {KEY[half:]} >&2; exit 3"),
            ("http", {"url": f"http://127.0.0.1:9/?key={KEY}"}),
            ("no_such_tool", {"key": KEY}),
        )
        told = (await lives.tcp.get(f"/api/v1/tasks/{task}/events")).text
        assert "exit code 3" in told
        assert KEY not in told
    written = base64.b64encode(KEY.encode())[:-4]
    for path in (one for one in home.rglob("*") if one.is_file() and "vault" not in one.parts):
        data = path.read_bytes()
        assert KEY.encode() not in data, path
        assert written not in data, path
    assert KEY not in caplog.text
