"""The rules of tries that run, and leases as they are counted in memory."""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.core.event import Replied
from holdfast.core.gate.policy import Allow, Lease, Rule, Rules, Say
from holdfast.core.message import ModelSaid
from holdfast.core.task import JudgedCall, Status, Task
from holdfast.engine.authority import Authority
from tests.core.given import call

LEASE = Lease(id="l", rule=Rule(say=Say.ALLOW), uses=2)


def used(*leases: str) -> Replied:
    """A turn that used these leases."""
    judged = tuple(
        JudgedCall(call=call(f"c{n}", "pay"), verdict=Allow(rule="r", lease=lease))
        for n, lease in enumerate(leases)
    )
    return Replied(said=ModelSaid(), judged=judged)


def test_a_use_counts_at_once_and_is_given_back_if_it_was_not_written():
    authority = Authority(Rules)
    authority.put([LEASE])
    uses = authority.take([used("l", "l", "gone")])
    assert uses == {"l": 2, "gone": 1}
    assert authority.leases == (replace(LEASE, used=2),)
    authority.give_back(uses)
    assert authority.leases == (LEASE,)
    authority.exhaust(uses)
    assert authority.leases == ()


def test_a_try_keeps_its_rules_while_32_versions_are_known_and_then_has_the_newest():
    now = [Rules(version="0")]
    authority = Authority(lambda: now[0])

    def over(version: str) -> tuple[str, str]:
        rules = authority.over(Task(status=Status.RUNNING, policy=version))
        return rules.version, rules.newer.version if rules.newer else ""

    for number in range(32):
        now[0] = Rules(version=str(number))
        authority.current()
    assert over("0") == ("0", "31")
    assert over("31") == ("31", "")
    now[0] = Rules(version="32")
    assert over("0") == ("32", "")
    assert over("1") == ("1", "32")
    assert over("32") == ("32", "")


def test_a_task_that_does_not_run_is_under_the_rules_in_force():
    now = [Rules(version="1")]
    authority = Authority(lambda: now[0])
    authority.current()
    now[0] = Rules(version="2")
    waiting = authority.over(Task(status=Status.WAITING, policy="1"))
    assert (waiting.version, waiting.newer) == ("2", None)
