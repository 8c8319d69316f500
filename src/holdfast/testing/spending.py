"""Many clients against one budget while the daemon is killed: does anybody overspend?

The provider is a scripted one that keeps its own account: every request that reaches it is paid,
whether or not its answer ever arrives. Run it by itself for the figures:

    python -m holdfast.testing.spending --calls 200 --kills 5
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from .daemon import Answered, Daemon, Gone, stage
from .model_server import ModelServer, RecordedRequest, Reply, Usage

MODEL = "scripted/scripted"
_GIVEN, _LEAST, _SPAN = 20, 200, 3_800
_IN, _OUT = 1, 10
_BUSY = 429
_PATIENCE = 180.0
_LIFE = 15.0
_OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}
_COMMAND = (sys.executable, "-m", "holdfast.doors.cli")


class Spent(Struct, frozen=True, kw_only=True):
    """What came of it, in dollars and calls. `overspent` is what the provider took above the cap.

    `unpaid` is what the ledger has settled for calls that came back and the provider has not
    served; `forgotten` what it served and the ledger counts neither as settled nor in doubt.
    """

    calls: int
    kills: int
    seconds: float
    cap: float
    provider: float
    served: int
    settled: float
    doubtful: float
    doubtful_calls: int
    answered: int
    refused: int
    refused_after_the_money_was_back: int
    overspent: float
    unpaid: float
    forgotten: float

    @property
    def holds(self) -> bool:
        wrong = (self.overspent, self.unpaid, self.forgotten)
        return not any(wrong) and not self.refused_after_the_money_was_back


class Provider:
    """What the scripted model took, in micro-dollars, by its own count."""

    def __init__(self, dice: random.Random, delay: float) -> None:
        self._dice, self._delay, self._lock = dice, delay, threading.Lock()
        self.took = self.served = 0

    def __call__(self, _asked: RecordedRequest) -> Reply:
        with self._lock:
            taken = _LEAST + self._dice.randrange(_SPAN)
            self.took += _GIVEN * _IN + taken * _OUT
            self.served += 1
            delay = self._dice.uniform(0, 2 * self._delay)
        usage = Usage(input=_GIVEN, output=taken)
        return Reply(text="done", usage=usage, delay=delay)


class Shop:
    """One home with a budget, its daemon, and what clients did."""

    def __init__(self, folder: Path, url: str, cap: int) -> None:
        self.daemon = Daemon(folder / "home")
        self._folder, self._numbers = folder / "workspace", itertools.count(1)
        self._folder.mkdir()
        self.came: Counter[str] = Counter()
        self.home = self.daemon.home
        self.home.mkdir(mode=0o700)
        (self.home / "config.toml").write_text(_CONFIG.format(url=url, cap=cap / 1e6))
        (self.home / "config.toml").chmod(0o600)

    def command(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """A process of the command line, which starts the daemon where there is none."""
        kept = {name: os.getenv(name, "") for name in ("PATH", "PYTHONPATH", "HOME", "TMPDIR")}
        return subprocess.run(  # noqa: S603 - our own command
            [*_COMMAND, *words],
            env=kept | {"HOLDFAST_HOME": str(self.home), "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )

    def start(self) -> None:
        for _ in range(50):
            if not self.command("status").returncode:
                return
        raise TimeoutError("no daemon")

    def kill(self) -> None:
        """SIGKILL for the daemon that holds this home's lock; who asks next starts another."""
        pid = int((self.home / "run" / "daemon.lock").read_text() or 0)
        if pid:
            os.kill(pid, signal.SIGKILL)

    def ask(self) -> None:
        """One question over HTTP; asked again, as a new call, when the daemon is gone."""
        self._again(lambda: self.daemon.post("/api/v1/models/ask", {"text": "work"}))

    def ask_by_command(self) -> None:
        """One question by a process of its own."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            done = self.command("model", "ask", "work", "--json")
            if not done.returncode:
                self.came["answered"] += 1
                return
            if b"budget_exceeded" in done.stdout + done.stderr or b"the budget" in done.stderr:
                self.came["refused"] += 1
                return
        raise TimeoutError("no answer for a command")

    def work(self) -> None:
        """One durable task; the same key again is the same task."""
        body = {"prompt": "work", "workspace": str(self._folder), "preset": "read-only"}
        body["key"] = f"task {next(self._numbers)}"
        self._again(lambda: self.daemon.post("/api/v1/tasks", body), counts=False)

    def _again(self, post: Callable[[], Any], *, counts: bool = True) -> None:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                post()
            except (Gone, TimeoutError):
                time.sleep(0.02)
                continue
            except Answered as said:
                if "budget_exceeded" in str(said):
                    self.came["refused"] += 1
                    return
                if said.status < _BUSY:
                    raise
                continue
            self.came["answered"] += counts
            return
        raise TimeoutError("no answer")

    def rest(self) -> None:
        """Until every task has ended or waits for a person; those are cancelled then."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            rows = self.daemon.get("/api/v1/tasks?limit=500")["tasks"]
            for row in rows:
                if row["status"] == "WAITING":
                    self.came["refused"] += 1
                    self.daemon.post(f"/api/v1/tasks/{row['id']}/cancel", {})
            if all(row["status"] in _OVER for row in rows):
                self.came["answered"] += sum(row["status"] == "SUCCEEDED" for row in rows)
                return
            time.sleep(0.05)
        raise TimeoutError("tasks did not come to rest")

    def total(self) -> dict[str, Any]:
        return self.daemon.get("/api/v1/costs")["total"]

    def settle(self, truth: int) -> None:
        """A person knows what the provider took for all calls in doubt: says so, call by call."""
        doubts = self.daemon.get("/api/v1/budgets")["doubtful"]
        while doubts:
            for one in doubts:
                part = min(truth, round(one["usd"] * 1e6))
                truth -= part
                body = {"call": one["id"], "usd": part / 1e6}
                self.daemon.post("/api/v1/budgets/settle", body)
            doubts = self.daemon.get("/api/v1/budgets")["doubtful"]


_CONFIG = """
[server]
http = false

[engine]
lanes = 64
agent_lanes = 64
provider_calls = 16

[models]
default = "scripted/scripted"
detect_local = false

[models.providers.scripted]
kind = "openai"
base_url = "{url}/v1"
api_key = "not-a-secret"
models = ["scripted"]

[models.price."scripted/*"]
input = 1.0
output = 10.0

[[budget]]
scope = "installation"
per = "total"
usd = {cap}
"""


def storm(calls: int, kills: int, seed: int, cap: int, delay: float = 0.1) -> Spent:
    """`calls` at once by three kinds of clients, the daemon killed now and then; the account."""
    dice, began = random.Random(seed), time.monotonic()
    provider = Provider(dice, delay)
    with stage("spend") as folder, ModelServer(rule=provider) as model:
        shop = Shop(folder, model.url, cap)
        shop.start()
        try:
            _rush(shop, provider, calls, kills, dice)
            shop.start()
            shop.rest()
            return _account(shop, provider, calls, kills, cap, began)
        finally:
            shop.command("serve", "stop")


def _rush(shop: Shop, provider: Provider, calls: int, kills: int, dice: random.Random) -> None:
    commands = calls // 10
    tasks = calls // 4
    work = [shop.ask] * (calls - commands - tasks) + [shop.work] * tasks
    dice.shuffle(work)
    with ThreadPoolExecutor(calls) as clients, ThreadPoolExecutor(4) as processes:
        under_way = [clients.submit(one) for one in work]
        under_way += [processes.submit(shop.ask_by_command) for _ in range(commands)]
        for _ in range(kills):
            wanted, end = provider.served + dice.randint(1, 25), time.monotonic() + _LIFE
            while provider.served < wanted and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(dice.uniform(0, 0.6))
            shop.kill()
            shop.start()
        for one in under_way:
            one.result(_PATIENCE)


def _account(
    shop: Shop, provider: Provider, calls: int, kills: int, cap: int, began: float
) -> Spent:
    total = shop.total()
    settled, doubtful = round(total["usd"] * 1e6), round(total["doubtful_usd"] * 1e6)
    took, served = provider.took, provider.served
    shop.settle(took - settled)
    after = round(shop.total()["usd"] * 1e6)
    late = _spend_the_rest(shop, cap, after)
    return Spent(
        calls=calls,
        kills=kills,
        seconds=round(time.monotonic() - began, 1),
        cap=cap / 1e6,
        provider=took / 1e6,
        served=served,
        settled=settled / 1e6,
        doubtful=doubtful / 1e6,
        doubtful_calls=total["doubtful_calls"],
        answered=shop.came["answered"],
        refused=shop.came["refused"] - late,
        refused_after_the_money_was_back=late,
        overspent=max(0, provider.took - cap) / 1e6,
        unpaid=max(0, settled - took) / 1e6,
        forgotten=max(0, took - settled - doubtful, took - after) / 1e6,
    )


def _spend_the_rest(shop: Shop, cap: int, spent: int) -> int:
    """Calls one after the other as long as the money is there; how many were refused."""
    before, most = shop.came["refused"], 50_000
    while spent + most <= cap and shop.came["refused"] == before:
        shop.ask()
        spent = round(shop.total()["usd"] * 1e6)
    return shop.came["refused"] - before


def main(arguments: list[str] | None = None) -> int:
    """Print the account as JSON; 1 when money was overspent, lost or held back."""
    parser = argparse.ArgumentParser(prog="holdfast.testing.spending")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--cap", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    spent = storm(given.calls, given.kills, given.seed, round(given.cap * 1e6))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(spent)).decode() + "\n")
    return 0 if spent.holds else 1


if __name__ == "__main__":
    sys.exit(main())
