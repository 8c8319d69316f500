"""Connecting Slack by the command line, with a browser here or the address pasted."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from holdfast.testing.daemon import Daemon, stage
from holdfast.testing.fake_slack import CLIENT, SECRET, FakeSlack
from tests.e2e.at_home import ENVIRONMENT, files, holdfast

pytestmark = pytest.mark.timeout(120)
_ADDRESS = re.compile(r"http://\S+/oauth/v2/authorize\S+")


@contextmanager
def house(slack: FakeSlack) -> Generator[Path]:
    with stage("slack") as place:
        home = place / "home"
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(f'[slack]\napi = "{slack.api}"\n')
        (home / "config.toml").chmod(0o600)
        files(home)
        with Daemon(home) as daemon:
            daemon.start()
            yield home
            daemon.stop()


def login(home: Path, slack: FakeSlack, *words: str, secret: str = "", paste: bool = False) -> str:
    """What it says at the end. The person agrees, in a browser here or elsewhere."""
    command = [sys.executable, "-m", "holdfast.doors.cli", "slack", "login", *words]
    env = {**ENVIRONMENT, "HOLDFAST_HOME": str(home), "HOME": str(home.parent)}
    with subprocess.Popen(
        command,
        cwd=files(home),
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin
        assert running.stderr
        if secret:
            running.stdin.write(f"{secret}\n")
            running.stdin.flush()
        said, url = "", ""
        for line in running.stderr:
            said += line
            if found := _ADDRESS.search(line):
                url = found[0]
                break
        if url:
            back = slack.agree(url)
            if paste:
                running.stdin.write(f"{back}\n")
                running.stdin.flush()
            else:
                with urlopen(back, timeout=20) as page:
                    assert b"go back to the terminal" in page.read()
        running.stdin.close()
        said += running.stderr.read()
        assert running.wait(30) == 0, said
        return said


def free() -> str:
    """A port that nobody has at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def test_a_workspace_is_connected_shown_and_forgotten_by_commands(tmp_path: Path):
    """Rows KV-46, KV-47."""
    with FakeSlack() as slack, house(slack) as home:
        missing = holdfast(home, "slack", "login")
        assert missing.returncode == 2
        assert "no Slack app is known for default" in missing.stderr
        assert "--client-id" in missing.stderr
        said = login(
            home,
            slack,
            "--client-id",
            CLIENT,
            "--client-secret-stdin",
            "--port",
            free(),
            secret=SECRET,
        )
        assert "logged in to The Lab as ada, here called default" in said
        rows = json.loads(holdfast(home, "slack", "status", "--json").stdout)["workspaces"]
        assert [(one["alias"], one["state"]) for one in rows] == [("default", "in")]
        again = login(home, slack, "--port", free())
        assert "logged in to The Lab" in again, "the app need not be said twice"
        elsewhere = login(
            home,
            slack,
            "work",
            "--client-id",
            CLIENT,
            "--client-secret-stdin",
            "--redirect",
            "https://me.example/slack",
            secret=SECRET,
            paste=True,
        )
        assert "here called work" in elsewhere
        assert "default" in holdfast(home, "slack").stdout
        gone = holdfast(home, "slack", "logout")
        assert "Slack took the token back" in gone.stderr
        assert slack.count("auth.revoke") == 1
        local = holdfast(home, "slack", "logout", "work", "--local-only")
        assert "work is forgotten here" in local.stderr
        assert slack.count("auth.revoke") == 1
        assert "no workspace is connected" in holdfast(home, "slack", "status").stderr
        wrong = holdfast(home, "slack", "login", "--client-id", CLIENT, "--port", "99999")
        assert wrong.returncode == 2
        assert "--port 99999: there is no such port" in wrong.stderr
        for path in home.rglob("*"):
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path
