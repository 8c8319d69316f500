"""Who may answer which questions, as the policy says it; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from holdfast.core.gate.matter import Matter
from holdfast.core.gate.policy import Rule

_SIGNS = frozenset("*?[")


class Answerers(Struct, frozen=True, kw_only=True):
    """Questions about these calls are for these principals; `by` empty: for all who may answer.

    With a `domain`, the calls are those that belong to it too.
    `members` are those of `by` with its groups spelled out. `not_requester`: nor for the one who
    submitted the task.
    """

    calls: Rule
    domain: tuple[Rule, ...] = ()
    by: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    not_requester: bool = False

    def may(self, principal: str, requester: str) -> bool:
        if self.not_requester and principal == requester:
            return False
        return not self.by or any(fnmatchcase(principal, one) for one in self.members)

    def speaks_of(self, matter: Matter) -> bool:
        belongs = not self.domain or any(one.matches(matter) for one in self.domain)
        return belongs and self.calls.matches(matter)

    def may_meet(self, tools: Iterable[str]) -> bool:
        """Whether some call of these tools (patterns) could be one of these calls."""
        wanted = list(tools)
        domain = tuple(tool for rule in self.domain for tool in rule.tools or ("*",))
        return all(
            any(_overlap(one, other) for one in mine or ("*",) for other in wanted)
            for mine in (self.calls.tools, domain)
        )


def over(all_of_them: Sequence[Answerers], matter: Matter) -> list[Answerers]:
    """Those that speak about a call; each of them must agree to who answers."""
    return [one for one in all_of_them if one.speaks_of(matter)]


def words(found: Sequence[Answerers], requester: str) -> tuple[str, ...]:
    """Who may answer, for people to read; empty: whoever may answer at all."""
    several = [" or ".join(one.by) for one in found if one.by]
    without = any(one.not_requester for one in found)
    return (*dict.fromkeys(several), *([f"not {requester}, who asked for it"] if without else []))


def _overlap(one: str, other: str) -> bool:
    """Whether two patterns may fit the same name; sure only where one of them is plain."""
    plain, loose = _SIGNS.isdisjoint(one), _SIGNS.isdisjoint(other)
    if not plain and not loose:
        return True
    return fnmatchcase(one, other) or fnmatchcase(other, one)
