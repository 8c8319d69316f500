"""The demonstration really kills a daemon, and nothing comes of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from holdfast.testing.demo import main


@pytest.mark.timeout(120)
def test_the_demonstration_loses_nothing_and_does_nothing_twice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="hf") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        assert main(["--json"]) == 0
        assert not list(Path(folder).iterdir()), "it cleans up"
    said = capsys.readouterr()
    shown = json.loads(said.out)
    assert shown["holds"]
    assert shown["in_flight"] >= 3
    assert "SIGKILL" in said.err
    assert "may or may not have happened" in shown["told"]
    assert [line["status"] for line in shown["lines"]] == ["SUCCEEDED"] * 6
    assert max(line["paid"] for line in shown["lines"]) == 1
