"""What is done about a failed try, and who is asked next. Pure: a table, and functions over values.

A call has candidates: the model that is wanted and its fallbacks. They are tried one at a time.
Which of them, when and for how long is decided here; `answering.py` does it, `health.py` remembers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.ids import Instant, jitter
from holdfast.core.message import Try

Worth = Literal["nothing", "another", "both"]
Cooling = Literal["none", "growing", "told", "long"]
Next = Literal["retry", "failover", "give up"]

SKIPPED, EMPTY = "skipped", "empty"


class Rule(Struct, frozen=True):
    """What a kind of failure is worth: nothing, another model, or both that and the same again.

    `cooling` is for how long the model is left alone once it was given up.
    """

    worth: Worth
    cooling: Cooling
    why: str


RULES: Mapping[str, Rule] = {
    "invalid_request": Rule("nothing", "none", "the request is wrong, not the model"),
    "not_found": Rule("nothing", "none", "the name is wrong, and hiding that helps nobody"),
    "context_overflow": Rule("nothing", "none", "the conversation has to be shortened"),
    "content_filtered": Rule("nothing", "none", "what was refused here is not asked elsewhere"),
    "auth": Rule("another", "long", "a key does not mend itself; another provider has its own"),
    "billing": Rule("another", "long", "credit does not come back by waiting a minute"),
    "rate_limited": Rule("both", "told", "the provider says when to come back"),
    "overloaded": Rule("both", "growing", "trouble passes"),
    "connection": Rule("both", "growing", "networks come back; tried on a new connection"),
    "timeout": Rule("both", "growing", "the connection may be dead; tried on a new one"),
    "incomplete": Rule("both", "growing", "a reply that broke off is asked for again, whole"),
    "malformed": Rule("both", "growing", "what came was no reply"),
    EMPTY: Rule("another", "none", "another model may say something; if none, it is the answer"),
}
_USEFUL = (
    "rate_limited", "overloaded", "timeout", "connection", "incomplete", "malformed",
    "billing", "auth",
)  # fmt: skip
_WANTS_NEW_CONNECTION = frozenset({"timeout", "connection"})

PAUSES = (0.5, 1.0, 2.0)
LONGEST_PAUSE = 30.0
_MARGIN = 0.1
_LONG = 3_600.0
_GROWS, _GROWN = 5, 1_500.0
_LIMITED_GROWN = 120.0


class Patience(Struct, frozen=True, kw_only=True):
    """How often the last candidate is asked again, and when a failing one is left alone.

    A candidate cools down when it was given up `failures_to_open` times in a row; the first time
    for `cooldown` seconds.
    """

    retries: int = 3
    failures_to_open: int = 1
    cooldown: float = 60.0


class Health(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a model: tries that answered and failed, and how it stands.

    `row` is how often in a row it was given up; it cools down from `opened` to `until`, because of
    `code`. `error` is the last thing that went wrong.
    """

    good: int = 0
    bad: int = 0
    row: int = 0
    opened: Instant = 0
    until: Instant = 0
    code: str = ""
    error: str = ""

    def left(self, now: Instant) -> int:
        """Milliseconds of cooldown that are left. A clock that was set back does not prolong it."""
        return self.until - now if self.opened <= now < self.until else 0

    @property
    def on_trial(self) -> bool:
        """It cooled down and has not answered since."""
        return self.until > 0


UNKNOWN = Health()


class Scene(Struct, frozen=True, kw_only=True):
    """How all models stand at one moment. `probed` are on trial and being asked by some call."""

    now: Instant
    health: Mapping[str, Health]
    probed: Collection[str] = ()

    def of(self, model: str) -> Health:
        return self.health.get(model, UNKNOWN)

    def against(self, model: str) -> str:
        """Why this model is not to be asked while there is another; empty if it may be."""
        health = self.of(model)
        if left := health.left(self.now):
            return f"cooling down for another {-(-left // 1000)} s after {health.code}"
        if health.on_trial and model in self.probed:
            return f"another call is finding out whether it is well again after {health.code}"
        return ""


class Chain(Struct, frozen=True, kw_only=True):
    """Where a call stands: the candidates left to it, the present one first, asked `tries` times.

    `desperate`: all of them were cooling down when it began, so that does not count.
    """

    left: tuple[str, ...]
    tries: int = 1
    desperate: bool = False


class Move(Struct, frozen=True, kw_only=True):
    """What is done about a failed try.

    `pause` in seconds, then `chain.left[0]` is asked, on a `fresh` connection or any. `cools`: the
    present candidate is given up for its own fault. `passed` were passed over, and why.
    """

    next: Next
    chain: Chain
    pause: float = 0.0
    fresh: bool = False
    cools: bool = False
    passed: tuple[tuple[str, str], ...] = ()


def rule_for(code: str, *, retryable: bool) -> Rule:
    """The rule for a failure; one of an unknown kind goes by its own word."""
    return RULES.get(code) or RULES["overloaded" if retryable else "invalid_request"]


def begin(candidates: Sequence[str], scene: Scene) -> tuple[Chain, tuple[tuple[str, str], ...]]:
    """Who is to be asked, in order, and who is not, and why. All are asked if all cool down."""
    against = {model: scene.against(model) for model in candidates}
    well = tuple(model for model in candidates if not against[model])
    if well:
        return Chain(left=well), tuple((m, why) for m, why in against.items() if why)
    by_time = sorted(candidates, key=lambda model: scene.of(model).left(scene.now))
    return Chain(left=tuple(by_time), desperate=True), ()


def move(
    chain: Chain, rule: Rule, *, code: str, told: float, scene: Scene, patience: Patience
) -> Move:
    """What is done after the present candidate has failed; `told` is its Retry-After in seconds."""
    stay = Move(next="give up", chain=chain)
    if rule.worth == "nothing":
        return stay
    rest, passed = _onward(chain, scene)
    cools = rule.cooling != "none"
    if rest:
        onward = replace(chain, left=rest, tries=1)
        return replace(stay, next="failover", chain=onward, cools=cools, passed=passed)
    if rule.worth == "another" or chain.tries > patience.retries or told > LONGEST_PAUSE:
        return replace(stay, cools=cools, passed=passed)
    return Move(
        next="retry",
        chain=replace(chain, left=chain.left[:1], tries=chain.tries + 1),
        pause=pause(chain.tries, told, f"{chain.left[0]}:{scene.now}"),
        fresh=code in _WANTS_NEW_CONNECTION,
        passed=passed,
    )


def _onward(chain: Chain, scene: Scene) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    rest = chain.left[1:]
    if chain.desperate:
        return rest, ()
    against = [(model, scene.against(model)) for model in rest]
    well = tuple(model for model, why in against if not why)
    return well, tuple((model, why) for model, why in against if why)


def pause(tries: int, told: float, key: str) -> float:
    """Seconds before the same model is asked again: growing, spread by `key`; or as it was told."""
    if told:
        return told + _MARGIN
    base = PAUSES[min(tries, len(PAUSES)) - 1]
    return base * (800 + jitter(key, 401)) / 1000


def answered(health: Health) -> Health:
    """After a reply: all is well again."""
    return Health(good=health.good + 1, bad=health.bad, error=health.error)


def failed(health: Health, code: str, error: str) -> Health:
    """After a try that failed for the model's own fault."""
    return replace(health, bad=health.bad + 1, error=f"{code}: {error}")


def forgiven(health: Health) -> Health:
    """As if it had never been given up; what was counted stays."""
    return Health(good=health.good, bad=health.bad, error=health.error)


def given_up(  # noqa: PLR0913 - one value each
    health: Health,
    rule: Rule,
    *,
    code: str,
    told: float,
    began: Instant,
    now: Instant,
    patience: Patience,
) -> Health:
    """After a call has given the model up, which it had begun to ask at `began`.

    Calls that were under way together and failed together count once.
    """
    if rule.cooling == "none":
        return health
    row = health.row if health.row and began <= health.opened else health.row + 1
    health = replace(health, row=row, opened=now, code=code)
    if rule.cooling == "growing" and row < patience.failures_to_open:
        return health
    times = max(1, row - patience.failures_to_open + 1)
    until = now + round(_seconds(rule.cooling, times, told, patience.cooldown) * 1000)
    return replace(health, until=max(until, health.until if health.left(now) else 0))


def _seconds(cooling: Cooling, times: int, told: float, first: float) -> float:
    """How long a model is left alone that was given up for the n-th time in a row."""
    power = min(times, 10) - 1
    match cooling:
        case "long":
            return _LONG
        case "told" if told:
            return min(told, _LONG)
        case "told":
            return min(first * 2**power, _LIMITED_GROWN)
        case _:
            return max(min(first * _GROWS**power, _GROWN), min(told, _LONG))


def most_useful(codes: Sequence[str]) -> int:
    """Which of several failures tells most: one that waiting mends, else the last one."""
    ranks = [_USEFUL.index(code) if code in _USEFUL else len(_USEFUL) for code in codes]
    best = min(ranks)
    return len(ranks) - 1 - ranks[::-1].index(best)


def in_short(tried: Sequence[Try]) -> str:
    """All tries in one phrase: who failed how, how often; and who was not asked."""
    runs: list[tuple[str, int]] = []
    for one in tried:
        what = f"{one.model} {one.code}"
        if runs and runs[-1][0] == what:
            runs[-1] = (what, runs[-1][1] + 1)
        else:
            runs.append((what, 1))
    return ", ".join(f"{what} {times} times" if times > 1 else what for what, times in runs)
