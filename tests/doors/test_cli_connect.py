"""Connecting at a terminal: what is typed there is not shown."""

from pathlib import Path

from tests.doors.cli_stage import Terminal, staged

KEY = "sk-canary-0123456789"
MADE = {"name": "openai", "source": "saved key", "host": "api.openai.com", "models": ["gpt"]}


def test_a_key_that_is_typed_is_not_shown_and_never_an_argument(tmp_path: Path):
    with staged(tmp_path) as stage:
        stage.daemon.canned["/api/v1/connections"] = {"connections": [], "offers": []}
        stage.daemon.canned["/api/v1/connections/openai"] = MADE
        with Terminal(stage, "connect", "openai", out=False) as terminal:
            before = terminal.until("Key of openai, not shown: ")
            terminal.type(f"{KEY}\n")
            code, out = terminal.end()
            assert code == 0, terminal.seen
            assert KEY not in f"{before}{terminal.seen}{out}"
        assert "openai: connected, from saved key; use it as openai/gpt" in out
        refused = stage.run("connect", "openai", KEY)
        assert refused.code == 2
        assert "a key is never an argument" in refused.err
        assert KEY not in refused.err
