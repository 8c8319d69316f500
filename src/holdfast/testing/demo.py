"""`holdfast demo`: real work, a kill in the middle of it on stage, and what came of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from .daemon import Daemon, stage, use_model
from .model_server import ModelServer, RecordedRequest, Reply, ScriptedCall

_PATIENCE = 60.0
_STEP = 0.01
_PAYMENTS = 5
_OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}
_CUT_OFF = "unknown"

Say = Callable[[str], None]


class Line(Struct, frozen=True, kw_only=True):
    """What became of one task. `paid` counts its lines in the ledger outside."""

    task: str
    prompt: str
    status: str
    outcomes: tuple[str, ...]
    paid: int
    answer: str
    verified: bool


class Shown(Struct, frozen=True, kw_only=True):
    """The whole demonstration."""

    lines: tuple[Line, ...]
    in_flight: int
    told: str
    seconds: float
    home: str = ""

    @property
    def holds(self) -> bool:
        unknown = sum(line.outcomes.count(_CUT_OFF) for line in self.lines)
        return (
            all(line.status == "SUCCEEDED" and line.verified for line in self.lines)
            and all(line.paid <= 1 for line in self.lines)
            and all(line.paid == 1 for line in self.lines if _CUT_OFF not in line.outcomes)
            and len(self.lines) == _PAYMENTS + 1
            and bool(unknown and self.in_flight and self.told)
        )


def show(folder: Path, say: Say) -> Shown:
    """The demonstration, in `folder`: a home, a workspace, a scripted model, a daemon."""
    began = time.monotonic()
    home, workspace = folder / "home", folder / "workspace"
    workspace.mkdir()
    with ModelServer(rule=_model) as model, Daemon(home) as daemon:
        use_model(home, model.url)
        say(f"A home in {home}, and a scripted model that answers over HTTP.")
        say(f"The daemon is ready after {daemon.start():.1f} s: process {daemon.pid}.")
        tasks = _submit(daemon, workspace)
        say(f"{len(tasks)} tasks submitted. Each pays something: that must not happen twice.")
        started = _when_calls_are_started(daemon, tasks, workspace)
        daemon.kill()
        say(f"SIGKILL, with {started} calls in flight. No goodbye: the process is gone.")
        say(f"The ledger outside holds {sum(_ledger(workspace).values())} payments.")
        say(f"Started again after {daemon.start():.1f} s: process {daemon.pid}.")
        _await(lambda: all(_row(daemon, task)["status"] in _OVER for task in tasks.values()))
        lines = tuple(_line(daemon, name, task, workspace) for name, task in tasks.items())
        told = next((words for asked in model.requests if (words := _told(asked))), "")
        daemon.stop()
    return Shown(
        lines=lines, in_flight=started, told=told, seconds=time.monotonic() - began, home=str(home)
    )


def _model(asked: RecordedRequest) -> Reply:
    """Pays what the person names; then reports, from what the tool said."""
    prompt = next(m["content"] for m in asked.messages if m["role"] == "user")
    name = str(prompt).split()[-1]
    if all(message["role"] != "tool" for message in asked.messages):
        return Reply(text="I pay it.", calls=_calls(name))
    if _told(asked):
        return Reply(text=f"{name}: it was cut off, and may be paid. I did not pay again.")
    return Reply(text=f"{name}: paid.")


def _calls(name: str) -> tuple[ScriptedCall, ...]:
    pay = ScriptedCall(name="exec", arguments={"command": _command(name)})
    note = ScriptedCall(name="append", arguments={"path": "notes.txt", "content": f"{name}\n"})
    return (pay, note) if name.endswith("0") else (pay,)


def _command(name: str) -> str:
    """Half of them pay at once and dawdle; half dawdle and pay. The last one is quick."""
    if name == "report":
        return f"echo {name} >> ledger"
    number = int(name.rpartition("-")[2])
    return f"echo {name} >> ledger; sleep 2" if number % 2 else f"sleep 2; echo {name} >> ledger"


def _told(asked: RecordedRequest) -> str:
    """What the model was told of a call that was cut off."""
    answers = [str(m["content"]) for m in asked.messages if m["role"] == "tool"]
    return next((text for text in answers if _CUT_OFF in text.lower()), "")


def _submit(daemon: Daemon, workspace: Path) -> dict[str, str]:
    names = [*(f"invoice-{n}" for n in range(_PAYMENTS)), "report"]
    return {n: daemon.submit(f"Please pay {n}", workspace, unattended=True) for n in names}


def _when_calls_are_started(daemon: Daemon, tasks: dict[str, str], workspace: Path) -> int:
    """Wait for calls that have begun and not ended, one that has paid among them."""

    def in_flight() -> int:
        kinds = [Counter(e["kind"] for e in _events(daemon, task)) for task in tasks.values()]
        return sum(kind["CallStarted"] - kind["CallSettled"] for kind in kinds)

    # By default four tasks of one agent run at once.
    _await(lambda: in_flight() >= 3 and _ledger(workspace).total() > 0)
    return in_flight()


def _line(daemon: Daemon, name: str, task: str, workspace: Path) -> Line:
    row = _row(daemon, task)
    settled = [e["data"]["outcome"] for e in _events(daemon, task) if e["kind"] == "CallSettled"]
    return Line(
        task=str(row.get("short", task)),
        prompt=name,
        status=str(row["status"]),
        outcomes=tuple(str(outcome["type"]) for outcome in settled),
        paid=_ledger(workspace)[name],
        answer=str(row.get("answer", "")),
        verified=bool(daemon.get(f"/api/v1/tasks/{task}/verify")["ok"]),
    )


def _row(daemon: Daemon, task: str) -> dict[str, Any]:
    return daemon.get(f"/api/v1/tasks/{task}")


def _events(daemon: Daemon, task: str) -> list[dict[str, Any]]:
    return daemon.get(f"/api/v1/tasks/{task}/events")["events"]


def _ledger(workspace: Path) -> Counter[str]:
    path = workspace / "ledger"
    return Counter(path.read_text(encoding="utf-8").split()) if path.exists() else Counter()


def _await(true: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"the demonstration did not come on in {_PATIENCE:g} s")
        time.sleep(_STEP)


def table(shown: Shown) -> list[str]:
    rows = [("task", "", "status", "calls", "paid", "history")]
    rows += [
        (
            line.task,
            line.prompt,
            line.status,
            " ".join(line.outcomes),
            f"{line.paid}x",
            "verified" if line.verified else "DAMAGED",
        )
        for line in shown.lines
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _conclusion(shown: Shown) -> list[str]:
    unknown = [line for line in shown.lines if _CUT_OFF in line.outcomes]
    twice = [line.prompt for line in shown.lines if line.paid > 1]
    lost = [line.prompt for line in shown.lines if line.status not in _OVER]
    return [
        f'The model was told: "{" ".join(shown.told.split())}"',
        f"lost: {len(lost)}; done twice: {len(twice)}; cut off, shown and not repeated: "
        f"{len(unknown)}; {shown.seconds:.1f} s",
    ]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="holdfast demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="what came of it as JSON on stdout")
    parser.add_argument("--keep", action="store_true", help="keep the home and the workspace")
    asked = parser.parse_args(words)
    with stage("demo", keep=asked.keep) as folder:
        shown = show(folder, lambda text: print(text, file=sys.stderr))  # noqa: T201
    if asked.json:
        told = {"holds": shown.holds, **msgspec.to_builtins(shown)}
        text = msgspec.json.encode(told).decode()
    else:
        text = "\n".join([*table(shown), "", *_conclusion(shown)])
    sys.stdout.write(text + "\n")
    if asked.keep:
        sys.stderr.write(f"Kept: {folder}\n")
    return 0 if shown.holds else 1


if __name__ == "__main__":
    sys.exit(main())
