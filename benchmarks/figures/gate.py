"""One decision of the gate under 100 and 10,000 rules, beside looking at every rule in turn."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.measure import Result, percentile
from holdfast.core.gate.judge import Standing, decided, deciding
from holdfast.core.gate.matter import Asking, Matter
from holdfast.core.gate.policy import Rule, Rules, Say
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId
from holdfast.core.message import ToolCall

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
    return found


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
