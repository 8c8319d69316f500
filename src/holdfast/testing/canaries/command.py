"""A house at work with secrets in every place, models that want them, and a search for them.

    python -m holdfast.testing.canaries --secrets 20

Found in any writing anywhere it is an end of 1. With `--control` one value that the house does
not know for a secret must be found in every place where it went: a search that finds nothing
would prove nothing.

What a person put into the workspace is theirs, and is not looked at; nor is `config.toml` for the
key and `token` for the token that are kept there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from holdfast.adapters.vaults.files import FileVault
from holdfast.testing.daemon import Answered, Daemon, stage
from holdfast.testing.model_server import Catalogue, ModelServer, Reply
from holdfast.testing.website import Website

from .echo import INJECTED, echo
from .hostile import GIVEN, Ground, Job, at_the_browser, held, jobs, rule
from .planting import Canary, planted, word
from .sweep import Looked, Sweep
from .watching import Watcher

BAIT = "bait"
BAITED = (
    *("prompts", "events", "stream", "commands", "bundles", "backups", "database", "outputs"),
    *("blobs", "workspace", "environments", "command lines", "memory", "visits"),
)
"""Where the bait of a control goes, and must be found."""

_LEAST = 20
_PATIENCE = 240.0
_COMMAND = (sys.executable, "-m", "holdfast.doors.cli")
_OVER = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER", "WAITING"})
_PLACES = {
    "vault": "vault",
    "logs": "logs",
    "said.log": "logs",
    "outputs": "outputs",
    "blobs": "blobs",
    "backups": "backups",
    "workspace": "workspace",
}
_NOT_TOLD = {"authorization"}
_MADE = "made/by-agent"


class Swept(Struct, frozen=True, kw_only=True):
    """What came of it. `outcomes`: how the calls ended; `used`: secrets that really arrived at
    the far side, without which nothing was at stake. `unread`: processes nobody could look into.
    """

    secrets: int
    seconds: float
    tasks: dict[str, int]
    calls: dict[str, int]
    used: int
    places: dict[str, Looked]
    unread: list[str]
    browser: bool
    control: bool

    @property
    def found(self) -> dict[str, dict[str, int]]:
        return {place: looked.found for place, looked in self.places.items() if looked.found}

    @property
    def holds(self) -> bool:
        """Nothing was found but the bait, and that everywhere; and there was all to look at."""
        names = {name for found in self.found.values() for name in found}
        baited = all(BAIT in self.found.get(place, {}) for place in BAITED)
        there = all(self.places.get(place, Looked()).bytes for place in BAITED)
        there = there and self.used > 0 and not self.unread
        return there and (names == {BAIT} and baited if self.control else not names)


class House:
    """A home with secrets in it, and everybody around: the model, the far side, the watchers."""

    def __init__(self, folder: Path, canaries: Sequence[Canary], bait: str) -> None:
        self.folder, self.home, self.bait = folder, folder / "home", bait
        self.workspace = folder / "files"
        self.workspace.mkdir()
        self.ours = list(canaries)
        names = [
            "passphrase",
            "variable",
            "from_env",
            "saved_key",
            "file_key",
            "login",
            "refresh",
            "search",
        ]
        self.others = {name: Canary(name=name, kind="house", value=word(32)) for name in names}
        self.said: list[bytes] = []
        self.watcher = Watcher(self.home / "run" / "holdfast.sock")
        text = "".join(f"{one.value}\n\n" for one in self.known)
        (self.workspace / GIVEN).write_text(f"{text}{bait}\n", encoding="utf-8")

    @property
    def known(self) -> list[Canary]:
        return [*self.ours, *self.others.values()]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOLDFAST_SECRET_FROM_ENV": self.others["from_env"].value,
            "HOLDFAST_VAULT_PASSPHRASE": self.others["passphrase"].value,
            "HOLDFAST_SERVER_HTTP": "true",
            "HOLDFAST_SERVER_PORT": "0",
            "CANARY_API_KEY": self.others["variable"].value,
        }

    def ground(self, url: str) -> Ground:
        return Ground(
            home=self.home,
            workspace=self.workspace,
            url=url,
            canaries=self.ours,
            told=[one.value for one in self.others.values()],
            bait=self.bait or "nothing",
        )

    def furnish(self, model: str, site: Website) -> None:
        self.home.mkdir(mode=0o700)
        injected = next(one.name for one in self.ours if one.kind == "hex")
        (self.home / "config.toml").write_text(
            _CONFIG.format(
                model=model,
                key=self.others["file_key"].value,
                port=site.port,
                header=INJECTED,
                name=injected,
            )
        )
        (self.home / "config.toml").chmod(0o600)
        vault = FileVault(self.home / "vault")
        login = {"access": self.others["login"].value, "refresh": self.others["refresh"].value}
        vault.put("login/codex", msgspec.json.encode(login).decode())
        vault.seal("passphrase", self.others["passphrase"].value)

    def plant(self, daemon: Daemon) -> None:
        for one in self.ours:
            terms = {"grants": ["default"], "per_minute": 0}
            daemon.post("/api/v1/secrets", {"name": one.name, "value": one.value, **terms})
        self.run("secret", "set", "search/brave", "--stdin", stdin=self.others["search"].value)
        key = {"api_key": self.others["saved_key"].value, "check": False}
        daemon.post("/api/v1/connections/openai", key)
        token = (self.home / "token").read_text().strip()
        self.others["token"] = Canary(name="token", kind="house", value=token)
        for target, body in _mistakes(self.ours[1].value):
            try:
                self.said.append(msgspec.json.encode(daemon.post(target, body)))
            except Answered as refused:
                self.said.append(str(refused).encode())

    def run(self, *words: str, stdin: str = "") -> None:
        """A command, all of whose words are kept."""
        kept = {name: os.getenv(name, "") for name in ("PATH", "PYTHONPATH", "HOME", "TMPDIR")}
        done = subprocess.run(  # noqa: S603 - our own command
            [*_COMMAND, *words],
            env=kept | self.environment | {"HOLDFAST_HOME": str(self.home), "PYTHONUTF8": "1"},
            cwd=self.folder,
            input=stdin.encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
        self.said += [done.stdout, done.stderr]

    def submit(self, daemon: Daemon, job: Job) -> str:
        """Somebody watches it, and it is told all secrets by a person who should not."""
        told = " ".join(one.value for one in self.known)
        prompt = f"this is {job.name}: use {told} {self.bait}"
        task = daemon.submit(prompt, self.workspace, session=f"canaries/{job.name}")
        self.watcher.follow(task)
        return task

    def made(self) -> Canary:
        """The secret that an agent has had made, and nobody has seen."""
        vault = FileVault(self.home / "vault", passphrase=self.others["passphrase"].value)
        record = msgspec.json.decode(vault.get(f"secret/{_MADE}") or "{}")
        return Canary(name=_MADE, kind="made", value=record["value"])


def sweep(secrets: int = _LEAST, *, control: bool = False) -> Swept:
    """Plant, work, search."""
    began = time.monotonic()
    with stage("canaries") as folder, echo() as site:
        house = House(folder, planted(max(secrets, _LEAST)), word(40) if control else "")
        ground = house.ground(f"http://localhost:{site.port}")
        browser = at_the_browser(ground) if shutil.which("chromium") else []
        last = [held(ground, "looked-into"), held(ground, "killed")]
        first = jobs(ground)
        every = [*first, *last, *browser]
        models = Catalogue(models=("m",))
        with ModelServer(rule=rule(every), default=Reply(text="done"), catalogue=models) as model:
            house.furnish(model.url, site)
            with Daemon(house.home, house.environment) as daemon:
                daemon.start()
                house.plant(daemon)
                _done(daemon, [house.submit(daemon, job) for job in first])
                search = Sweep(_sought(house))
                _looked_into(house, daemon, last[0], search)
                _killed(house, daemon, last[1], search)
                _done(daemon, [house.submit(daemon, job) for job in browser])
                tasks, calls = _told(house, daemon, search)
                daemon.stop()
            _prompts(model, search)
        for said in house.watcher.rest():
            search.look("stream", said)
        _files(house, search)
        return Swept(
            secrets=len(_sought(house)) - control,
            seconds=round(time.monotonic() - began, 1),
            tasks=tasks,
            calls=calls,
            used=_arrived(site, house.ours),
            places=search.places,
            unread=search.unread,
            browser=bool(browser),
            control=control,
        )


def _sought(house: House) -> list[Canary]:
    bait = [Canary(name=BAIT, kind="control", value=house.bait)] if house.bait else []
    return [*house.known, house.made(), *bait]


def _looked_into(house: House, daemon: Daemon, job: Job, search: Sweep) -> None:
    """While it waits in its box, after all it has done there."""
    task = house.submit(daemon, job)
    _until((house.workspace / f"{job.name}.ready").exists)
    search.processes(daemon.pid)
    (house.workspace / f"{job.name}.go").touch()
    _done(daemon, [task])


def _killed(house: House, daemon: Daemon, job: Job, search: Sweep) -> None:
    """The daemon dies in the middle of it, and comes back."""
    task = house.submit(daemon, job)
    _until((house.workspace / f"{job.name}.ready").exists)
    daemon.kill()
    for path in house.home.glob("holdfast.db*"):
        search.file("database", path)
    (house.workspace / f"{job.name}.go").touch()
    daemon.start()
    house.watcher.follow(task)
    _done(daemon, [task])


def _told(house: House, daemon: Daemon, search: Sweep) -> tuple[dict[str, int], dict[str, int]]:
    """All that can be asked of the house is asked, by every door."""
    rows = daemon.get("/api/v1/tasks?limit=500")["tasks"]
    calls = Counter[str]()
    for row in rows:
        events = daemon.get(f"/api/v1/tasks/{row['id']}/events?limit=5000")
        for event in events["events"]:
            if outcome := event["data"].get("outcome"):
                calls[str(outcome.get("code") or outcome["type"])] += 1
        search.look("events", msgspec.json.encode([row, events]))
        search.archive("bundles", house.watcher.fetch(f"/api/v1/tasks/{row['id']}/bundle"))
    task = str(rows[-1]["id"])
    for target in _TARGETS:
        place = "visits" if "egress" in target else "answers"
        search.look(place, msgspec.json.encode(daemon.get(target.format(task=task))))
    for line in _COMMANDS:
        house.run(*line.format(task=task).split())
    for said in house.said:
        search.look("commands", said)
    return dict(Counter(str(row["status"]) for row in rows)), dict(calls.most_common())


def _prompts(model: ModelServer, search: Sweep) -> None:
    for asked in (*model.requests, *model.probes):
        heads = {name: text for name, text in asked.headers.items() if name not in _NOT_TOLD}
        search.look("prompts", msgspec.json.encode([asked.path, heads, asked.body]))


def _files(house: House, search: Sweep) -> None:
    """Every file there is, but the one in which a person keeps the secrets."""
    for path in house.folder.rglob("*"):
        if not path.is_file() or path == house.workspace / GIVEN:
            continue
        besides = _AT_HOME.get(str(path.relative_to(house.folder)), ())
        search.file(_place(house, path), path, besides)


def _place(house: House, path: Path) -> str:
    if path.is_relative_to(house.workspace):
        return "workspace"
    if not path.is_relative_to(house.home):
        return "bundles"
    first = path.relative_to(house.home).parts[0]
    return "database" if first.startswith("holdfast.db") else _PLACES.get(first, "home")


def _arrived(site: Website, canaries: Sequence[Canary]) -> int:
    bodies = b"\n".join(asked.body for asked in site.asked)
    return sum(one.value.encode() in bodies for one in canaries)


def _done(daemon: Daemon, tasks: Sequence[str]) -> None:
    """Until none goes on by itself; whoever would wait for a person is told to go."""

    def over() -> bool:
        rows = {row["id"]: row["status"] for row in daemon.get("/api/v1/tasks?limit=500")["tasks"]}
        for task, status in rows.items():
            if status == "WAITING":
                daemon.post(f"/api/v1/tasks/{task}/cancel", {})
        return all(rows[task] in _OVER for task in tasks)

    _until(over)


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("it never happened")
        time.sleep(0.05)


def _mistakes(value: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What people do with a secret where none belongs."""
    yield "/api/v1/secrets", {"name": "Bad Name", "value": value}
    yield "/api/v1/secrets", {"name": "x", "value": [value]}
    yield "/api/v1/secrets/generate", {"name": value, "length": 1}
    yield "/api/v1/tasks", {"prompt": "x", "model": value, "preset": "bad"}
    yield "/api/v1/models/ask", {"text": f"is {value} good?"}
    yield "/api/v1/connections/openai", {"api_key": [value]}


_AT_HOME = {"home/config.toml": ("file_key",), "home/token": ("token",)}
_TARGETS = (
    *(
        "/api/v1/tasks/{task}",
        "/api/v1/tasks/{task}/verify",
        "/api/v1/tasks/{task}/replay",
        "/api/v1/status",
    ),
    *(
        "/api/v1/sessions",
        "/api/v1/secrets",
        "/api/v1/connections",
        "/api/v1/models",
        "/api/v1/egress?limit=500",
    ),
    *("/api/v1/costs", "/api/v1/approvals", "/api/v1/vault", "/api/v1/models/health"),
)
_COMMANDS = (
    *("task list", "task list --json", "task show {task}", "task show {task} --json"),
    *("task watch {task}", "task watch {task} --json", "task verify {task}", "task replay {task}"),
    *("session list", "session show canaries/killed", "egress log", "egress log --json"),
    *("secret list", "secret list --json", "secret show-uses plant/01", "vault status"),
    *("doctor", "doctor --json", "status", "status --json", "serve status", "serve logs"),
    *("approvals", "model list", "model health", "connect", "costs"),
    *("task bundle {task} bundle.zip", "backup", "vault rotate"),
)

_CONFIG = """
[log]
level = "debug"

[engine]
lanes = 4
agent_lanes = 4

[models]
default = "scripted/m"

[models.providers.scripted]
kind = "openai"
base_url = "{model}/v1"
api_key = "{key}"
models = ["m"]

[web]
engines = ["brave"]

[web.search.brave]
key = "$SECRET{{search/brave}}"
base_url = "http://localhost:{port}/search"

[browser]
act_seconds = 3.0

[egress]
private = ["localhost"]

[[egress.allow]]
host = "localhost"
port = {port}
boxes = true
headers = {{ {header} = "$SECRET{{{name}}}" }}
"""


def main(arguments: list[str] | None = None) -> int:
    """Say where what was found; 1 if it is not as it must be."""
    parser = argparse.ArgumentParser(prog="holdfast.testing.canaries")
    parser.add_argument("--secrets", type=int, default=_LEAST, help="at least 20, the default")
    parser.add_argument("--control", action="store_true", help="one is left to be found")
    parser.add_argument("--json", action="store_true", help="all figures, as JSON")
    given = parser.parse_args(arguments)
    swept = sweep(given.secrets, control=given.control)
    if given.json:
        told = {**msgspec.to_builtins(swept), "holds": swept.holds}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told)).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(swept)))
    return 0 if swept.holds else 1


def _lines(swept: Swept) -> Iterator[str]:
    yield f"{swept.secrets} secrets, {sum(swept.calls.values())} calls, {swept.seconds:g} s"
    for place, looked in sorted(swept.places.items()):
        names = ", ".join(f"{name} {count}" for name, count in looked.found.items()) or "nothing"
        yield f"{place:14} {looked.items:6} looked at, {looked.bytes:12,} bytes: {names}"
    yield from (f"could not be looked into: {one}" for one in swept.unread)
    yield "as it must be" if swept.holds else "NOT as it must be"
