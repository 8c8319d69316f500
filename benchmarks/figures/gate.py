"""One decision of the gate under 100 and 10,000 rules, beside looking at every rule in turn; and
the labels of a call in a task that has read for fifty turns, without and with a plan."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.measure import Result, percentile
from holdfast.core.gate.hearing import hearing
from holdfast.core.gate.judge import Standing, decided, deciding
from holdfast.core.gate.labels import labelled
from holdfast.core.gate.matter import Asking, Matter
from holdfast.core.gate.plan import PLAN
from holdfast.core.gate.policy import Rule, Rules, Say
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId
from holdfast.core.message import (
    EffectClass,
    Entry,
    ModelSaid,
    Returned,
    ToolAnswered,
    ToolCall,
)
from holdfast.core.task import Request, Task

_NOW = 1_796_212_800_000
_SAYS = (Say.ALLOW, Say.ASK, Say.DENY)


def measure(place: Path, quick: bool) -> dict[str, Result]:
    found: dict[str, Result] = {}
    for amount in (100, 10_000):
        rules = _rules(amount)
        calls = _calls(random.Random(2))
        standing = Standing(asking=Asking(agent="agent7", principal="local", at=_NOW))
        rounds = 200 if quick else 2_000
        ours = _seconds(partial(decided, standing=standing, rules=rules), calls, rounds)
        found[f"Holdfast, {amount:,} rules"] = _spread(ours)
        few = max(20, rounds * 100 // amount // 10)
        plain = _seconds(partial(_in_turn, standing=standing, rules=rules), calls, few)
        found[f"every rule in turn, {amount:,}"] = _spread(plain)
    for name, planned in (("labels after 50 answers", False), ("the same with a plan", True)):
        task, call = _read_for_long(planned), _mail(49)
        label = partial(_labels, task)
        found[name] = _spread(_seconds(label, [call], 20 if quick else 200))
    return found


def _labels(task: Task, call: ToolCall) -> object:
    """All that is worked out for a call before it is judged: what was heard, and its labels."""
    return tuple(labelled((call,), hearing(task)))


def _read_for_long(planned: bool) -> Task:
    """Fifty answers of a server, 2 KB of fields each, read by a plan of a hundred steps or none."""
    entries: list[Entry] = []
    if planned:
        steps = [
            step
            for number in range(50)
            for step in (
                {"tool": "mail_read", "arguments": {"id": number}},
                {
                    "tool": "mail_send",
                    "arguments": {
                        "to": {"from": 2 * number + 1, "field": "sender"},
                        "body": {"text": "an answer"},
                    },
                },
            )
        ]
        call = ToolCall(id=CallId("p"), tool=PLAN, arguments={"steps": steps}, aims=("*",))
        entries = [
            ModelSaid(text="", calls=(call,)),
            ToolAnswered(call_id=call.id, tool=PLAN, outcome=Returned(text="The plan")),
        ]
    for number in range(50):
        read = ToolCall(
            id=CallId(f"r{number}"),
            tool="mail_read",
            arguments={"id": number},
            source="mcp:mail",
            effect=EffectClass.READS,
        )
        told = json.dumps({"sender": f"ann{number}@home.test", "text": "Some words. " * 160})
        answer = Returned(text=told, structured=True)
        entries += [
            ModelSaid(text="", calls=(read,)),
            ToolAnswered(call_id=read.id, tool=read.tool, outcome=answer, sources=("mcp:mail",)),
        ]
    request = Request(prompt="Answer mails 0 to 49, each to its sender")
    return Task(request=request, transcript=tuple(entries))


def _mail(number: int) -> ToolCall:
    return ToolCall(
        id=CallId("m"),
        tool="mail_send",
        arguments={"to": f"ann{number}@home.test", "body": "Thank you, I shall look at it."},
        aims=("*",),
        source="mcp:mail",
        effect=EffectClass.WRITES,
    )


def _spread(seconds: Sequence[float]) -> Result:
    """p50 and p99 in microseconds."""
    return {
        "p50_us": percentile(seconds, 0.50) * 1e6,
        "p99_us": percentile(seconds, 0.99) * 1e6,
    }


def _seconds(
    act: Callable[[ToolCall], object], calls: Sequence[ToolCall], rounds: int
) -> list[float]:
    for call in calls:
        act(call)
    seconds: list[float] = []
    for number in range(rounds):
        call = calls[number % len(calls)]
        began = time.perf_counter()
        act(call)
        seconds.append(time.perf_counter() - began)
    return seconds


def _in_turn(call: ToolCall, standing: Standing, rules: Rules) -> object:
    """The same verdict without any index: the baseline."""
    matter = Matter(call, standing.asking, rules.zone)
    return deciding([[rule for rule in layer if rule.matches(matter)] for layer in rules.layers])


def _rules(amount: int) -> Rules:
    """Rules as many teams would write them: about commands, paths, hosts, labels and agents."""
    chance = random.Random(1)
    layer = tuple(_rule(number, chance) for number in range(amount))
    return Rules(layers=(layer, PRESETS["ask"]), version="bench")


def _rule(number: int, chance: random.Random) -> Rule:
    say = chance.choice(_SAYS)
    match number % 5:
        case 0:
            words = (f"tool{number}", chance.choice(("push", "pull")), "**")
            return Rule(say=say, tools=("exec",), command=(words,))
        case 1:
            return Rule(say=say, tools=("write", "edit"), paths=(f"team{number}/src/*.py",))
        case 2:
            return Rule(say=say, hosts=(f"*.host{number}.example",), methods=("GET",))
        case 3:
            return Rule(say=say, labels=(f"untrusted:web:host{number}.example",))
        case _:
            agents = (f"agent{number}",)
            return Rule(say=say, agents=agents, tools=("http",), hours="08:00-18:00 Mon-Fri")


def _calls(chance: random.Random) -> list[ToolCall]:
    """What agents do: many commands, many files, some requests; some touched by the outside."""
    found: list[ToolCall] = []
    for number in range(200):
        labels = (f"untrusted:web:host{chance.randrange(10_000)}.example",) if number % 4 else ()
        tool, target = (
            ("exec", f"cd src && tool{chance.randrange(10_000)} push origin 'a b' | wc -l"),
            ("write", f"team{chance.randrange(10_000)}/src/deep/module.py"),
            ("http", f"https://api.host{chance.randrange(10_000)}.example/v1/items?page=2"),
            ("read", "README.md"),
        )[number % 4]
        paths = tool in {"write", "read"}
        found.append(
            ToolCall(
                id=CallId("c"),
                tool=tool,
                arguments={},
                target=target,
                names_paths=paths,
                labels=labels,
            )
        )
    return found
