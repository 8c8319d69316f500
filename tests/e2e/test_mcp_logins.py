"""Servers of tools in a whole house: from a file of others, with a login, from their makers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast.testing import tool_server
from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_server import RecordedRequest
from holdfast.testing.model_server import Reply as ModelReply
from holdfast.testing.website import Reply, Website
from tests.adapters.mcp_issuer import CANARY, Locked
from tests.e2e.at_home import ENVIRONMENT, files, holdfast
from tests.e2e.test_mcp import calling, ended, model, outcome
from tests.kits.npm import installed, node
from tests.kits.python import interpreter

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("bwrap"), reason="there is no bubblewrap"),
]


@pytest.fixture
def home() -> Generator[Path]:
    with stage("mcp-more") as place:
        files(place / "home")
        (place / "work").mkdir()
        yield place / "home"


def asked(home: Path, *words: str) -> Any:
    told = holdfast(home, *words, "--json")
    assert told.returncode == 0, (words, told.stderr)
    return json.loads(told.stdout)


def called(daemon: Daemon, home: Path, tool: str, where: str = "files") -> str:
    """What a tool says to a task whose model calls it."""
    task = daemon.submit(f"call {tool}", home.parent / where)
    assert ended(daemon, task)["status"] == "SUCCEEDED"
    return json.dumps(outcome(daemon, task))


def test_the_servers_of_another_programs_file_are_added_and_their_keys_kept(home: Path):
    """Part of rows OK-108, KV-51, OL-132."""
    shelf = home.parent / "shelf"
    shelf.mkdir()
    script = shutil.copy(str(tool_server.__file__), shelf / "server.py")
    told: dict[str, Any] = {
        "mcpServers": {
            "My Lab": {
                "command": "/usr/bin/python3",
                "args": [str(script)],
                "env": {"API_TOKEN": f"${{WHERE:-{CANARY}-in-a-file}}", "LEVEL": "info"},
                "description": "our lab",
            },
            "off": {"command": "x", "disabled": True},
            "odd": {"args": []},
        }
    }
    (files(home) / ".mcp.json").write_text(json.dumps(told), encoding="utf-8")
    with model(calling("my-lab_about")) as far, Daemon(home) as daemon:
        use_model(home, far.url)
        daemon.start()
        done = holdfast(home, "mcp", "import", "--read-only", str(shelf), "--json")
        assert done.returncode == 1, "one of them makes no sense"
        rows = {one["alias"]: one for one in json.loads(done.stdout)["servers"]}
        assert (rows["My Lab"]["name"], rows["My Lab"]["added"]) == ("my-lab", True)
        assert rows["My Lab"]["secrets"] == ["mcp/my-lab/api_token"]
        assert "neither a command nor a url" in rows["odd"]["problem"]
        assert not rows["off"]["added"]
        (state,) = asked(home, "mcp", "list")["servers"]
        assert state["state"] == "untrusted"
        for kept in (home / "mcp.json", home / "mcp.lock.json"):
            assert CANARY not in (kept.read_text() if kept.exists() else "")
        asked(home, "mcp", "trust", "my-lab", "--yes")
        # Not in the folder with the file: a server's end puts that back, whoever removed it.
        said = called(daemon, home, "my-lab_about", "work")
        assert "LEVEL" in said
        assert CANARY not in said, "the process sees it, and nobody else does"
        (files(home) / ".mcp.json").unlink()
        shared = home.parent / ".config" / "mcp"
        shared.mkdir(parents=True)
        slow = {"servers": {"slow": {"command": "/bin/slow", "timeout_seconds": 7}}}
        (shared / "servers.json").write_text(json.dumps(slow), encoding="utf-8")
        (row,) = asked(home, "mcp", "import")["servers"]
        assert (row["name"], row["added"]) == ("slow", True)
        assert '"seconds":7.0' in (home / "mcp.json").read_text().replace(" ", "")
        daemon.stop()


def test_a_person_logs_in_by_the_command_line_and_a_task_uses_it(home: Path):
    """Rows KV-49, KV-53."""
    server = Locked()
    with (
        Website(rule=server) as site,
        model(calling("far_look")) as far,
        Daemon(home) as daemon,
    ):
        server.at(site.url)
        use_model(home, far.url)
        daemon.start()
        added = holdfast(home, "mcp", "add", "far", "--url", f"{site.url}/mcp", "--yes")
        assert added.returncode == 4
        assert "holdfast mcp login far" in added.stderr
        (state,) = asked(home, "mcp", "status")["logins"]
        assert state["state"] == "none"

        made = log_in(home)
        assert (made["state"], made["issuer"]) == ("in", site.url)
        asked(home, "mcp", "trust", "far", "--yes")
        said = called(daemon, home, "far_look")
        assert "your token is ****" in said
        shown = holdfast(home, "mcp", "status").stdout
        assert "logged in" in shown
        assert "renewed by itself" in shown

        daemon.kill()
        daemon.start()
        assert "your token is ****" in called(daemon, home, "far_look")
        gone = asked(home, "mcp", "logout", "far")
        assert gone == {"name": "far", "revoked": True}
        assert asked(home, "mcp", "status")["logins"] == []
        daemon.stop()
    everything = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in everything if CANARY.encode() in path.read_bytes()] == []


def log_in(home: Path) -> Any:
    """The command waits; a browser goes where it says, and is sent back to the command."""
    words = [sys.executable, "-m", "holdfast.doors.cli", "mcp", "login", "far", "--json"]
    with subprocess.Popen(
        words,
        cwd=files(home),
        env={**ENVIRONMENT, "HOLDFAST_HOME": str(home), "HOME": str(home.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert running.stdout is not None
        address = next(line.strip() for line in running.stderr if "/authorize?" in line)
        with httpx2.Client(trust_env=False, follow_redirects=True, timeout=30) as browser:
            page = browser.get(address)
        assert "go back to the terminal" in page.text
        told = running.stdout.read()
        assert running.wait(30) == 0, running.stderr.read()
    return json.loads(told)


def shown() -> list[str]:
    """What boxes must show for these servers to come up: their interpreters and packages."""
    places = {sys.prefix, sys.base_prefix, str(Path(node()).parents[1])}
    places |= {str(installed("mcp-servers"))}
    return [word for place in sorted(places) for word in ("--read-only", place)]


def script(name: str) -> str:
    package = installed("mcp-servers") / "node_modules" / "@modelcontextprotocol" / name
    told = json.loads((package / "package.json").read_text(encoding="utf-8"))
    return str(package / next(iter(told["bin"].values())))


REFERENCE: dict[str, tuple[list[str], int, str, dict[str, Any], str]] = {
    "everything": ([node(), "server-everything"], 8, "echo", {"message": "hello"}, "hello"),
    "filesystem": (
        [node(), "server-filesystem", "."],
        10,
        "list_directory",
        {"path": "."},
        "notes.txt",
    ),
    "memory": ([node(), "server-memory"], 9, "read_graph", {}, "entities"),
    "time": (
        [sys.executable, "-m", "mcp_server_time"],
        2,
        "get_current_time",
        {"timezone": "UTC"},
        "UTC",
    ),
    "git": (
        [sys.executable, "-m", "mcp_server_git"],
        10,
        "git_status",
        {"repo_path": "."},
        "No commits yet",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_a_reference_server_is_added_and_used_in_its_box(home: Path, name: str):
    """Part of rows GC-94, OK-108, OL-132."""
    command, least, tool, arguments, words = REFERENCE[name]
    if command[0] == node():
        command = [node(), script(command[1]), *command[2:]]
    (files(home) / "notes.txt").write_text("a note\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(files(home))], check=True)
    with model(calling(f"{name}_{tool}", **arguments)) as far, Daemon(home) as daemon:
        use_model(home, far.url)
        daemon.start()
        memory = ["--env", "MEMORY_FILE_PATH=/tmp/memory.json"] if name == "memory" else []
        added = holdfast(
            home, "mcp", "add", name, "--yes", "--json", *shown(), *memory, "--", *command
        )
        assert added.returncode == 0, added.stderr
        assert json.loads(added.stdout)["tools"] >= least
        assert words in called(daemon, home, f"{name}_{tool}")
        daemon.stop()


PAGE = b"<html><title>Tides</title><body><h1>Tides</h1><p>High water at six.</p></body></html>"


@pytest.mark.slow
def test_the_reference_server_that_fetches_reaches_what_a_row_allows_and_nothing_else(home: Path):
    """Part of rows GC-94, OK-108, OL-132."""
    python = interpreter("fetch")
    pages = {"/tides": Reply(headers={"Content-Type": "text/html"}, body=PAGE)}
    command = ["--", python, "-m", "mcp_server_fetch", "--allow-private-ips", "--ignore-robots-txt"]
    places = [str(Path(python).parents[1]), sys.base_prefix]
    shows = [word for place in places for word in ("--read-only", place)]
    shows += ["--env", "PATH=/nowhere"]  # where it finds node, it installs packages as it runs
    with Website(pages) as site, Website(pages) as other, Daemon(home) as daemon:
        wanted = [site.port]

        def fetches(request: RecordedRequest) -> ModelReply:
            return calling("fetch_fetch", url=f"http://localhost:{wanted[-1]}/tides")(request)

        with model(fetches) as far:
            use_model(home, far.url)
            with (home / "config.toml").open("a", encoding="utf-8") as file:
                row = f'host = "localhost"\nport = {site.port}\ntools = ["mcp:fetch"]'
                file.write('\n[egress]\nprivate = ["localhost"]\n')
                file.write(f"[[egress.allow]]\n{row}\nboxes = true\n")
            daemon.start()
            added = holdfast(home, "mcp", "add", "fetch", "--yes", "--json", *shows, *command)
            assert added.returncode == 0, added.stderr
            assert "High water at six." in called(daemon, home, "fetch_fetch")
            assert [one.path for one in site.asked] == ["/tides"]
            wanted.append(other.port)
            assert "High water" not in called(daemon, home, "fetch_fetch")
            assert other.asked == []
            daemon.stop()
