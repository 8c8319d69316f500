"""Schemathesis reads our own document and tries to prove it, or us, wrong.

The longer run: `HOLDFAST_SCHEMATHESIS_SECONDS=1800 ./test tests/e2e/test_schemathesis.py`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.testing.daemon import Daemon
from tests.e2e.at_home import ENVIRONMENT

SECONDS = int(os.environ.get("HOLDFAST_SCHEMATHESIS_SECONDS", "30"))
PATIENT = {
    "HOLDFAST_SERVER_TRIES": "10000",  # it tries thousands of wrong keys, and means to
    "HOLDFAST_SERVER_PORT": "0",
    "HOLDFAST_SERVER_HTTP": "true",
    "HOLDFAST_MODELS_DETECT_LOCAL": "false",
}
LEFT_OUT = {
    "/api/v1/backup": "writes a file wherever the owner of the token says",
    "/api/v1/purge": "destroys on purpose what the others look at",
}


def address(daemon: Daemon) -> str:
    listening: list[str] = daemon.get("/api/v1/status")["listening"]
    return next(one for one in listening if one.startswith("http"))


@pytest.mark.timeout(SECONDS * 2 + 240)
def test_nothing_that_the_document_allows_or_forbids_breaks_the_door(tmp_path: Path):
    """No answer of 500, and none that the document does not describe."""
    home = tmp_path / "home"
    with Daemon(home, PATIENT) as daemon:
        daemon.start()
        token = (home / "token").read_text().strip()
        command = [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
            *("run", f"{address(daemon)}/openapi.json"),
            *("-H", f"Authorization: Bearer {token}"),
            *("--seed", "1", "-n", "20", "--max-time", str(SECONDS)),
            *("--generation-database", "none", "--no-color", "--request-timeout", "30"),
            *(part for path in LEFT_OUT for part in ("--exclude-path", path)),
        ]
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env={**ENVIRONMENT, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=SECONDS * 2 + 200,
            check=False,
        )
    (tmp_path / "said.txt").write_text(ran.stdout)
    failures = re.search(r"=+ FAILURES =+.*", ran.stdout, re.DOTALL)
    assert ran.returncode == 0, (failures[0] if failures else ran.stdout + ran.stderr)[-20_000:]
    cases = re.search(r"(\d+) generated", ran.stdout)
    assert cases, ran.stdout[-2_000:]
    assert int(cases[1]) > 100, "it has asked for more than a look around"
    log = (home / "logs" / "holdfast.log").read_text()
    assert "a request failed" not in log
