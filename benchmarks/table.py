"""A measured run as a Markdown table, aims beside it.

`python -m benchmarks.table RUN.json >docs/scorecard.md` writes the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TITLES = {
    "steps": "Durable steps, synchronous=FULL",
    "tasks": "Whole tasks: model, tool, model",
    "ready": "From `serve` to ready",
    "idle": "Idle",
    "recovery": "SIGKILL, then start until all are requeued",
    "start": "Commands, start to end",
    "stop": "Cancel a running command",
    "calls": "Model calls",
    "streams": "200 live streams, 20 pieces a second each",
    "doors": "The door for OpenAI's clients",
    "boxes": "A command in a box",
    "gate": "One decision of the gate",
}
FORMS = {
    "per_s": "{:,.0f} /s",
    "p50_ms": "p50 {:.2f} ms",
    "p99_ms": "p99 {:.2f} ms",
    "p50_us": "p50 {:.0f} µs",
    "p99_us": "p99 {:.0f} µs",
    "cpu_ms": "{:.3f} ms CPU each",
    "ready_s": "{:.2f} s",
    "recovery_s": "of that recovery {:.2f} s",
    "recovered": "{:,.0f} requeued",
    "rss_mib": "{:.1f} MiB RSS",
    "anonymous_mib": "{:.1f} MiB of it its own",
    "cpu_percent": "{:.2f} % CPU",
    "statements": "{:.0f} statements",
    "added_p50_ms": "adds p50 {:.2f} ms",
    "added_p99_ms": "adds p99 {:.2f} ms",
    "times": "{:.1f} times the calls per second",
    "streams": "{:.0f} streams",
    "late_s": "{:+.2f} s late",
    "each_mib": "{:.2f} MiB of processes",
    "machine_mib": "{:.2f} MiB of the machine's memory",
    "boxes": "{:.0f} ran",
    "failed": "{:.0f} failed",
    "took_s": "in {:.1f} s",
}
# (figure, contender, number) -> (the aim in words, its bound, True if more is better)
AIMS = {
    ("steps", "Holdfast, 64", "per_s"): ("at least 8,000 /s", 8_000.0, True),
    ("tasks", "Holdfast, 64", "per_s"): ("at least 1,000 /s", 1_000.0, True),
    ("ready", "serve, new home", "ready_s"): ("at most 0.8 s", 0.8, False),
    ("ready", "serve, used home", "ready_s"): ("at most 0.8 s", 0.8, False),
    ("doors", "Holdfast, a plain model, whole, 64", "cpu_ms"): ("at most 4 ms CPU", 4.0, False),
    ("doors", "Holdfast, an agent, whole, 64", "cpu_ms"): ("at most 12 ms CPU", 12.0, False),
    ("idle", "Holdfast", "rss_mib"): ("at most 60 MiB", 60.0, False),
    ("idle", "Holdfast", "statements"): ("none", 0.0, False),
    ("recovery", "1000 tasks in flight", "recovery_s"): ("at most 1 s", 1.0, False),
    ("start", "holdfast status", "p50_ms"): ("at most 40 ms", 40.0, False),
    ("boxes", "Holdfast, warm: run", "p50_ms"): ("at most 5 ms", 5.0, False),
    ("boxes", "Holdfast, cold: made and run", "p50_ms"): ("at most 40 ms", 40.0, False),
    ("boxes", "an idle box", "each_mib"): ("at most 2 MiB", 2.0, False),
    ("boxes", "200 boxes at once", "failed"): ("none", 0.0, False),
    ("calls", "Holdfast, asked straight, whole, 64", "cpu_ms"): (
        "at most 4 ms CPU",
        4.0,
        False,
    ),
    ("calls", "Holdfast, asked straight, streamed, 64", "cpu_ms"): (
        "at most 4 ms CPU",
        4.0,
        False,
    ),
    ("calls", "Holdfast, a task, whole, 64", "cpu_ms"): ("at most 12 ms CPU", 12.0, False),
    ("calls", "Holdfast over LiteLLM, whole, 64", "times"): ("at least 5", 5.0, True),
    ("calls", "Holdfast over LiteLLM, streamed, 64", "times"): ("at least 5", 5.0, True),
    ("streams", "Holdfast, asked straight", "late_s"): ("at most 1 s late", 1.0, False),
    ("gate", "Holdfast, 100 rules", "p50_us"): ("at most 50 µs", 50.0, False),
    ("gate", "Holdfast, 10,000 rules", "p50_us"): ("at most 200 µs", 200.0, False),
    ("stop", "all processes gone", "p99_ms"): ("p99 at most 200 ms", 200.0, False),
}


def table(run: Mapping[str, Any]) -> str:
    head = (
        f"{run['date']}, {run['machine']}, load {run['load_before']:.1f} before and "
        f"{run['load_after']:.1f} after; fsync of 4 KiB p50 {run['fsync']['p50_ms']:.2f} ms, "
        f"p99 {run['fsync']['p99_ms']:.2f} ms."
    )
    lines = [head, "", "| figure | who | value | aim |", "|---|---|---|---|"]
    for figure, rows in run["figures"].items():
        for who, numbers in rows.items():
            value = " · ".join(_shown(key, number) for key, number in numbers.items())
            lines.append(f"| {TITLES[figure]} | {who} | {value} | {_aim(figure, who, rows)} |")
    return "\n".join(lines)


def _shown(key: str, number: float) -> str:
    return FORMS[key].format(number)


def _aim(figure: str, who: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    if (figure, who) == ("steps", "Holdfast, 1"):
        over = rows[who]["p50_ms"] - rows["fsync alone"]["p50_ms"]
        return _verdict(f"p50 at most 1 ms over one fsync ({over:+.2f} ms)", over <= 1)
    said = [
        _verdict(words, rows[who][key] >= bound if more else rows[who][key] <= bound)
        for (f, w, key), (words, bound, more) in AIMS.items()
        if (f, w) == (figure, who)
    ]
    return "; ".join(said)


def _verdict(words: str, met: bool) -> str:
    return f"{words}: {'met' if met else 'missed'}"


PAGE = """\
# Scorecard

Every figure comes from one run of one command on one machine, beside its baselines, which take
turns with it so that a slow minute hits all of them. Values are medians of three rounds or more.

```sh
./benchmarks/run --json benchmarks/out/run.json
```

{table}

What is compared:

- **Durable step**: a command is decided, chained, recorded and synced (`synchronous=FULL`) before
  the next one of its task is given. Holdfast plays whole tasks, ten turns each; many tasks share
  one sync.
- **One commit per step**: the standard library's `sqlite3`, WAL, FULL, one transaction a step.
- **DBOS, SQLite**: its own store as its documentation sets it up; workflows are started directly,
  because its queue would add its polling interval.
- **huey, SQLite**: every commit synced. It records the job, not its steps, and a job that a crash
  interrupts is lost.
- **Whole task**: submitted, claimed, the model asked, a tool that writes run, the model asked
  again, done: six durable steps with a scripted model in the same process. A model with a price
  takes one step more per turn, in which the money is set aside.
- **Idle**: two seconds after the start, for ten seconds; statements are counted by the database
  connections themselves, less what the question takes.
- **Recovery**: each task is inside a tool call when the process is killed with SIGKILL; the daemon
  listens only when all are back in the queue.
- **Model calls**: a provider that answers at once (eight pieces when streamed), whoever stands
  before it on a core of its own, the load and the provider on the other. pydantic-ai is the library
  that Holdfast speaks to providers with, its load in the same process; LiteLLM's proxy is installed
  by the run into an environment of its own (`HOLDFAST_BENCH_PEERS` names a prepared one), and left
  out where that fails. All but the provider alone know who asks; Holdfast writes each call into its
  ledger. A task is submitted, its one turn recorded, and followed over its stream to the end.
- **Live streams**: all begin within a moment, and each would last ten seconds if it came alone.
- **A command in a box**: `true`, until its output has ended. Docker's own ways take turns with it
  in the first ten rounds: `docker run` makes a fresh container with like walls and limits each
  time, `docker exec` enters the very container that is the warm docker box.
- **Cancel**: a shell with two children in a box, one of them deaf to SIGTERM; until the last
  process is dead.

**Whole tasks at 64** are bound by one interpreter's CPU, about 1.2 ms a task for six durable
steps: recording is somewhat more than half of it (encoding and chaining, the summary row, the
shield against cancellation), the rest is task groups and the queue. The disk is not the limit:
bare steps run at about twice the rate. More needs less work per step, or worker processes.

CPU is that of the whole process, all threads. A machine that does other work meanwhile (see its
load above the table) shows longer times, mostly in p99.
"""


if __name__ == "__main__":
    measured = json.loads(Path(sys.argv[1]).read_text())
    print(PAGE.format(table=table(measured)), end="")
