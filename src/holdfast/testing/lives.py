"""Many short lives of one daemon: work comes steadily, and death at any moment."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from .daemon import Daemon
from .outside import Outside

_BUSY = 10
_AT_ONCE = 4
_LONGEST_WAIT = 3.0
_END = 180.0
_STEP = 0.003
_OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}
EVENTS = ("Claimed", "Replied", "CallStarted", "CallStarted", "CallSettled", "Finished")
MANY_LANES = {"HOLDFAST_ENGINE_AGENT_LANES": "16", "HOLDFAST_ENGINE_LANES": "16"}


class Moment(Struct, frozen=True):
    """When a life ends: `kind` is `delay`, `starting`, `submit` or the kind of an event."""

    kind: str
    seconds: float = 0.0


def random_moment(dice: random.Random) -> Moment:
    match dice.random():
        case chance if chance < 0.45:
            return Moment("delay", dice.uniform(0, 0.4))
        case chance if chance < 0.55:
            return Moment("starting", dice.uniform(0, 0.6))
        case chance if chance < 0.65:
            return Moment("submit", dice.uniform(0, 0.01))
        case _:
            return Moment(dice.choice(EVENTS), dice.uniform(0, 0.02))


class Lives:
    """Keeps `daemon` busy and kills it. What it was promised is in `acknowledged`: name -> id."""

    def __init__(self, daemon: Daemon, outside: Outside, dice: random.Random, tasks: int) -> None:
        self._daemon, self._outside, self._dice = daemon, outside, dice
        self._left = tasks
        self._prompts: dict[str, str] = {}
        self.acknowledged: dict[str, str] = {}
        self.moments: Counter[str] = Counter()
        self.ready: list[float] = []

    def live(self, moment: Moment | None = None) -> None:
        """One life: start, get new work, die at the moment."""
        moment = moment or random_moment(self._dice)
        self.moments[moment.kind] += 1
        if moment.kind == "starting":
            self._daemon.begin()
            time.sleep(moment.seconds)
        else:
            self.ready.append(self._daemon.start())
            self._promise_again()
            newest = self._give_work()
            self._await(moment, newest)
            time.sleep(moment.seconds)
        self._daemon.kill()

    def finish(self) -> None:
        """A last life, in which everything comes to its end; then an orderly stop."""
        self.ready.append(self._daemon.start())
        self._promise_again()
        self._until(lambda: not self._unfinished(), _END)
        self._daemon.stop()

    def _give_work(self) -> str:
        newest = ""
        room = min(_AT_ONCE, self._left, _BUSY - self._unfinished())
        for _ in range(room):
            self._left -= 1
            newest = self._submit(self._invent())
        return newest or next(reversed(self.acknowledged.values()), "")

    def _invent(self) -> str:
        name = f"task{len(self._prompts)}"
        self._prompts[name] = self._outside.work(name, self._dice)
        return name

    def _submit(self, name: str) -> str:
        task = self._daemon.submit(self._prompts[name], self._outside.workspace, key=name)
        return self.acknowledged.setdefault(name, task)

    def _promise_again(self) -> None:
        """Who was not answered asks again, with the same key."""
        for name in self._prompts.keys() - self.acknowledged.keys():
            self._submit(name)

    def _await(self, moment: Moment, task: str) -> None:
        if moment.kind == "submit":
            name = self._invent()
            body = {"prompt": self._prompts[name], "preset": "open", "key": name}
            body["workspace"] = str(self._outside.workspace)
            self._daemon.call_out("/api/v1/tasks", body)
        elif moment.kind in EVENTS and task:
            seen = len(self._events(task, 0))
            self._until(lambda: self._seen(task, seen, moment.kind), _LONGEST_WAIT, strict=False)

    def _seen(self, task: str, after: int, kind: str) -> bool:
        over = self._daemon.get(f"/api/v1/tasks/{task}")["status"] in _OVER
        return over or any(event["kind"] == kind for event in self._events(task, after))

    def _events(self, task: str, after: int) -> list[Any]:
        return self._daemon.get(f"/api/v1/tasks/{task}/events?after={after}")["events"]

    def _unfinished(self) -> int:
        counts: dict[str, int] = self._daemon.get("/api/v1/tasks?limit=1")["counts"]
        return sum(count for status, count in counts.items() if status not in _OVER)

    def _until(self, true: Callable[[], bool], seconds: float, *, strict: bool = True) -> None:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                if strict:
                    raise TimeoutError(f"not in {seconds:g} s: {self._daemon.said()}")
                return
            time.sleep(_STEP)
