"""Failover as rules: cooldowns, circuits, roles, and what holds in every order of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.adapters.models import failover
from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.failover import RULES, UNKNOWN, Chain, Health, Patience, Scene
from holdfast.adapters.models.health import Remembered
from holdfast.adapters.models.roles import in_order
from holdfast.adapters.models.scripted import ScriptedModel
from holdfast.adapters.models.settings import ModelsConfig, Provider, Role
from holdfast.core.context import Prompt
from holdfast.core.error import Invalid, Refused
from holdfast.core.message import Reply, Try
from holdfast.ports.model import Delta, Model, ModelFailure, ToolSpec
from holdfast.testing.model_contract import nothing, prompt
from tests.adapters.payers import Book

HOUR = 3_600_000
NAMES = ("a/x", "b/y", "c/z")


def fails(code: str, retry_after: float = 0.0) -> ModelFailure:
    rule = RULES.get(code)
    again = rule is not None and rule.worth == "both"
    return ModelFailure(
        code, f"{code} here", retryable=again, retry_after=retry_after, paid=code == "incomplete"
    )


class Halving(ScriptedModel):
    """What breaks off has said half of it before."""

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        try:
            return await super().ask(prompt, tools, hear)
        except ModelFailure as failure:
            if failure.paid:
                hear(Delta(text="half an"))
            raise


@dataclass
class World:
    """Models that say what their script says, a clock that sleeping moves, an account."""

    scripts: dict[str, list[Reply | ModelFailure]]
    chain: tuple[str, ...] = ()
    patience: Patience = field(default_factory=Patience)
    keep: Path | None = None
    now: int = 1_800_000_000_000
    pauses: list[float] = field(default_factory=list[float])
    asked: list[str] = field(default_factory=list[str])
    while_cooling: list[str] = field(default_factory=list[str])
    heard: list[Delta] = field(default_factory=list[Delta])
    book: Book = field(default_factory=Book)

    def __post_init__(self) -> None:
        self.catalog = self.opened()

    def opened(self) -> Catalog:
        names = self.chain or tuple(self.scripts)
        config = ModelsConfig(
            default=names[0],
            probe=False,
            fallback={names[0]: names[1:]},
            patience=self.patience,
        )
        more = {name: self.model(name) for name in self.scripts}
        return Catalog(
            config, more=more, remember=self.keep, now=lambda: self.now, sleep=self.sleep
        )

    def model(self, name: str) -> Model:
        def rule(_: Prompt) -> Reply | ModelFailure:
            self.asked.append(name)
            if any(one.model == name and one.cooldown_remaining for one in self.catalog.health()):
                self.while_cooling.append(name)
            script = self.scripts[name]
            return script.pop(0) if script else Reply(text=f"from {name}")

        return Halving(rule, name=name)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += round(seconds * 1000)
        await anyio.lowlevel.checkpoint()

    def ask(self, name: str = "") -> Reply:
        async def once() -> Reply:
            with anyio.fail_after(10):
                return await self.catalog.answer(
                    name, prompt("hello"), (), self.heard.append, self.book
                )

        return anyio.run(once)

    def fail(self, name: str = "") -> ModelFailure:
        with pytest.raises(ModelFailure) as caught:
            self.ask(name)
        return caught.value

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * 1000)

    def health(self, name: str) -> tuple[bool, int, float]:
        (found,) = [one for one in self.catalog.health() if one.model == name]
        return found.available, found.consecutive_failures, found.cooldown_remaining


def codes(tried: Sequence[Try]) -> list[str]:
    return [f"{one.model} {one.code} {one.next}".strip() for one in tried]


def test_a_failing_model_is_passed_over_until_it_has_cooled_down():
    """Rows OL-30, OK-86."""
    world = World({"a/x": [fails("overloaded")], "b/y": []})
    reply = world.ask()
    assert (reply.text, reply.model) == ("from b/y", "b/y")
    assert codes(reply.tried) == ["a/x overloaded failover", "b/y"]
    world.wait(59)
    reply = world.ask()
    assert codes(reply.tried) == ["a/x skipped", "b/y"]
    assert reply.tried[0].reason == "cooling down for another 1 s after overloaded"
    world.wait(1)
    assert world.ask().model == "a/x"
    assert world.book.ends == ["release", "settle", "settle", "settle"]


def test_cooldowns_grow_with_every_time_in_a_row_and_end_with_a_success():
    """Row OL-31."""
    world = World({"a/x": [fails("overloaded") for _ in range(4)], "b/y": []})
    found: list[float] = []
    for _ in range(4):
        world.ask()
        found.append(world.health("a/x")[2])
        world.wait(found[-1])
    assert found == [60, 300, 1500, 1500]
    assert world.ask().model == "a/x"
    assert world.health("a/x") == (True, 0, 0)


@pytest.mark.parametrize(
    ("code", "told", "seconds"),
    [
        ("auth", 0, [3600, 3600]),
        ("billing", 0, [3600, 3600]),
        ("rate_limited", 0, [60, 120, 120]),
        ("rate_limited", 7, [7, 7]),
        ("rate_limited", 9999, [3600]),
        ("overloaded", 200, [200, 300]),
        ("timeout", 0, [60, 300]),
        ("malformed", 0, [60, 300]),
    ],
)
def test_how_long_a_model_is_left_alone_depends_on_what_went_wrong(
    code: str, told: float, seconds: list[float]
):
    """Part of row OL-31."""
    world = World({"a/x": [fails(code, told)] * len(seconds), "b/y": []})
    for expected in seconds:
        assert world.ask().model == "b/y"
        assert world.health("a/x")[2] == expected
        world.wait(expected)


@pytest.mark.parametrize(
    "code", ["invalid_request", "not_found", "context_overflow", "content_filtered"]
)
def test_what_every_model_would_refuse_is_raised_at_once_and_cools_nobody_down(code: str):
    """Row OL-32."""
    world = World({"a/x": [fails(code)], "b/y": []})
    failure = world.fail()
    assert (failure.code, codes(failure.tried)) == (code, [f"a/x {code} give up"])
    assert world.asked == ["a/x"]
    assert world.pauses == []
    assert world.ask().model == "a/x"


def test_a_circuit_opens_after_so_many_failures_and_lets_one_call_through_later():
    """Row GC-34."""
    patience = Patience(failures_to_open=5, cooldown=300)
    world = World({"a/x": [fails("overloaded")] * 6, "b/y": []}, patience=patience)
    for times in range(1, 6):
        assert world.ask().model == "b/y"
        assert world.health("a/x") == (times < 5, times, 300 if times == 5 else 0)
        world.wait(0.01)
    asked = len(world.asked)
    world.wait(299.9)
    assert world.ask().model == "b/y"
    assert world.asked[asked:] == ["b/y"]
    world.wait(1)
    assert world.ask().model == "b/y"
    assert world.asked[-2:] == ["a/x", "b/y"]
    assert world.health("a/x")[1:] == (6, 1500)


def test_while_one_call_finds_out_whether_a_model_is_well_the_others_go_on():
    """Part of row GC-34."""

    async def play() -> None:
        world = World({"a/x": [fails("overloaded")], "b/y": []})
        await world.catalog.answer("", prompt("1"), (), nothing, Book())
        world.wait(60)
        inside, go = anyio.Event(), anyio.Event()
        slow = ScriptedModel([Reply(text="well again")], name="a/x")

        class Held:
            name, window, reserve = "a/x", 0, slow.reserve

            async def ask(
                self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
            ) -> Reply:
                inside.set()
                await go.wait()
                return await slow.ask(prompt, tools, hear)

        config = ModelsConfig(default="a/x", probe=False, fallback={"a/x": ("b/y",)})
        catalog = world.catalog
        world.catalog = Catalog(
            config, more={"a/x": Held(), "b/y": world.model("b/y")}, now=lambda: world.now
        )
        vars(world.catalog)["_health"] = vars(catalog)["_health"]
        replies: list[Reply] = []

        async def one() -> None:
            replies.append(await world.catalog.answer("", prompt("2"), (), nothing, Book()))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(one)
                await inside.wait()
                others = [
                    await world.catalog.answer("", prompt("3"), (), nothing, Book())
                    for _ in range(3)
                ]
                assert {reply.model for reply in others} == {"b/y"}
                assert "another call is finding out" in others[0].tried[0].reason
                go.set()
        assert replies[0].model == "a/x"

    anyio.run(play)


def test_the_health_of_models_survives_a_restart(tmp_path: Path):
    """Part of row GC-34."""
    keep = tmp_path / "model-health.json"
    world = World({"a/x": [fails("overloaded")], "b/y": []}, keep=keep)
    world.ask()
    assert keep.stat().st_mode & 0o777 == 0o600
    asked = len(world.asked)
    world.catalog = world.opened()
    assert world.ask().model == "b/y"
    assert world.asked[asked:] == ["b/y"]
    assert world.health("a/x")[:2] == (False, 1)


def test_the_file_is_written_only_when_the_standing_of_a_model_changes(tmp_path: Path):
    keep = tmp_path / "model-health.json"
    world = World({"a/x": []}, keep=keep)
    world.ask()
    assert not keep.exists()
    anyio.run(world.catalog.close)
    assert '"good":1' in keep.read_text()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"models":{"a":3}}', b"\xff" * 9])
def test_a_damaged_file_is_no_health_and_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
):
    keep = tmp_path / "model-health.json"
    keep.write_bytes(content)
    assert Remembered(lambda: 0, keep).report() == ()
    assert "is not used" in caplog.text


def test_a_file_that_cannot_be_written_stops_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    world = World({"a/x": [fails("overloaded")], "b/y": []}, keep=tmp_path / "gone" / "file")
    assert world.ask().model == "b/y"
    assert "is not kept" in caplog.text


def test_what_is_remembered_is_bounded():
    health = Remembered(lambda: 0)
    for number in range(1000):
        health.answered(f"m/{number}")
    assert len(health.report()) == 256


def test_a_clock_that_was_set_back_does_not_prolong_a_cooldown():
    world = World({"a/x": [fails("overloaded")], "b/y": []})
    world.ask()
    world.wait(-86_400)
    assert world.ask().model == "a/x"


def test_the_last_candidate_is_asked_again_with_growing_pauses():
    """Row OL-70. Part of rows OC-60, KV-23."""
    world = World({"a/x": [fails("overloaded"), fails("overloaded")]})
    reply = world.ask()
    assert codes(reply.tried) == ["a/x overloaded retry"] * 2 + ["a/x"]
    assert 0.4 <= world.pauses[0] <= 0.6
    assert 0.8 <= world.pauses[1] <= 1.2
    assert world.health("a/x") == (True, 0, 0)


def test_after_three_retries_it_is_given_up_and_it_is_said_when_to_come_back():
    world = World({"a/x": [fails("overloaded")] * 9})
    failure = world.fail()
    assert world.asked == ["a/x"] * 4
    assert len(world.pauses) == 3
    assert (failure.code, failure.retryable, failure.retry_after) == ("overloaded", True, 60)
    assert str(failure) == "overloaded here Tried: a/x overloaded 4 times."
    assert world.book.ends == ["release"] * 4


def test_a_short_retry_after_is_waited_for_and_a_long_one_is_handed_on():
    """Part of rows OK-87, KV-23."""
    world = World({"a/x": [fails("rate_limited", 1)]})
    assert world.ask().text == "from a/x"
    assert world.pauses == [1.1]
    world = World({"a/x": [fails("rate_limited", 31)]})
    failure = world.fail()
    assert (world.pauses, failure.retry_after, failure.code) == ([], 31, "rate_limited")


def test_when_all_are_cooling_down_all_are_asked_the_one_with_the_least_left_first():
    """Part of row OL-30."""
    world = World({"a/x": [fails("auth")], "b/y": [fails("overloaded")] * 4, "c/z": []})
    world.scripts["c/z"] = [fails("rate_limited", 40)]
    failure = world.fail()
    assert (failure.code, failure.retry_after) == ("rate_limited", 40)
    world.scripts = {"a/x": [], "b/y": [fails("timeout")], "c/z": [fails("timeout")]}
    world.asked.clear()
    assert world.ask().model == "a/x"
    assert world.asked == ["c/z", "b/y", "a/x"]


def test_calls_that_fail_together_count_as_one_failure():
    async def play() -> None:
        world = World({"a/x": [fails("overloaded")] * 8, "b/y": []})
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(world.catalog.answer, "", prompt("hello"), (), nothing, Book())
        assert world.health("a/x") == (False, 1, 60)

    anyio.run(play)


def test_whoever_cools_down_meanwhile_is_passed_over():
    ill = Health(row=1, opened=0, until=9_000, code="timeout")
    scene = Scene(now=1_000, health={"b/y": ill})
    chain = Chain(left=NAMES)
    move = failover.move(
        chain, RULES["overloaded"], code="overloaded", told=0, scene=scene, patience=Patience()
    )
    assert (move.next, move.chain.left) == ("failover", ("c/z",))
    assert move.passed == (("b/y", "cooling down for another 8 s after timeout"),)
    scene = Scene(now=1_000, health={"b/y": ill, "c/z": ill})
    move = failover.move(
        chain, RULES["overloaded"], code="overloaded", told=0, scene=scene, patience=Patience()
    )
    assert (move.next, move.chain.left) == ("retry", ("a/x",))


def test_together_means_begun_before_the_cooldown_did():
    rule = RULES["overloaded"]
    health = failover.given_up(
        UNKNOWN, rule, code="overloaded", told=0, began=5, now=10, patience=Patience()
    )
    again = failover.given_up(
        health, rule, code="overloaded", told=0, began=9, now=11, patience=Patience()
    )
    assert (health.row, again.row) == (1, 1)


def test_an_empty_reply_is_taken_only_when_nobody_else_has_more_to_say():
    world = World({"a/x": [Reply(text=" ")], "b/y": []})
    assert codes(world.ask().tried) == ["a/x empty failover", "b/y"]
    assert world.ask().model == "a/x"
    assert World({"a/x": [Reply()]}).ask().text == ""


def test_a_hold_that_is_refused_ends_the_call_and_blames_no_model():
    world = World({"a/x": [fails("overloaded")], "b/y": []})
    world.book.refuses = "b/y"
    with pytest.raises(Refused, match="too dear"):
        world.ask()
    assert world.book.ends == ["release"]


def test_unknown_failures_go_by_their_own_word():
    odd = ModelFailure("odd", "odd", retryable=False)
    assert World({"a/x": [odd], "b/y": []}).fail().code == "odd"
    odd = ModelFailure("odd", "odd", retryable=True)
    assert World({"a/x": [odd], "b/y": []}).ask().model == "b/y"


# Names, roles and fallbacks


def lab(name: str, **more: object) -> Provider:
    return Provider(kind="openai-compatible", base_url=f"http://{name}.test/v1", models=("m",))


def test_roles_have_models_and_fallbacks_of_their_own():
    config = ModelsConfig(
        default="d/d",
        roles={
            "executor": Role(model="e/1", fallback=("f/1",)),
            "evaluator": Role(model="e/2"),
            "planner": Role(fallback=("p/1",)),
        },
        fallback={"e/2": ("g/1", "g/2"), "x/x": ("y/y",)},
    )
    assert in_order("", config, "d/d", "s/s") == ("e/1", "f/1")
    assert in_order("@executor", config, "d/d", "s/s") == ("e/1", "f/1")
    assert in_order("@evaluator", config, "d/d", "s/s") == ("e/2", "g/1", "g/2")
    assert in_order("@planner", config, "d/d", "s/s") == ("e/1", "p/1")
    assert in_order("@small", config, "d/d", "s/s") == ("s/s",)
    assert in_order("@small", config, "d/d", "") == ("e/1", "f/1")
    assert in_order("x/x", config, "d/d", "") == ("x/x", "y/y")
    with pytest.raises(Invalid, match="no role '@boss'"):
        in_order("@boss", config, "d/d", "")


@pytest.mark.parametrize(
    ("env", "model"),
    [
        ({"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}, "anthropic/claude-haiku-4-5"),
        ({"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}, "openai/gpt-4o-mini"),
        ({"GEMINI_API_KEY": "k"}, "google/gemini-2.5-flash"),
        ({}, "offline/rules"),
    ],
)
def test_the_small_role_takes_what_is_small_of_what_was_found(env: dict[str, str], model: str):
    """Part of row OK-85."""
    catalog = Catalog(ModelsConfig(env=env, probe=False))
    assert catalog.find("@small").name == model


def test_candidates_without_a_key_are_passed_over_and_written_down():
    """Part of row OL-30."""
    world = World({"b/y": []}, chain=("anthropic/claude", "b/y", "nobody/x", "b/y"))
    reply = world.ask()
    assert codes(reply.tried) == ["anthropic/claude skipped", "nobody/x skipped", "b/y"]
    assert "holdfast connect anthropic" in reply.tried[0].reason


def test_a_configured_provider_without_a_key_is_said_when_nobody_else_is_left():
    config = ModelsConfig(providers={"mine": Provider(kind="anthropic")}, probe=False)
    with pytest.raises(Invalid, match="No API key is configured for mine/claude") as caught:
        Catalog(config).find("mine/claude")
    assert caught.value.code == "no_key"
    assert caught.value.hint.startswith("set ANTHROPIC_API_KEY in the daemon's environment")
    config = ModelsConfig(
        providers={
            "groq": Provider(kind="openai-compatible", base_url="https://groq.test/v1"),
            "lab": Provider(
                kind="openai-compatible", base_url="http://127.0.0.1:9/v1", key_env="LAB_KEY"
            ),
        },
        probe=False,
    )
    for name, variable in (("groq/x", "GROQ_API_KEY"), ("lab/x", "LAB_KEY")):
        with pytest.raises(Invalid) as caught:
            Catalog(config).find(name)
        assert caught.value.hint.startswith(f"set {variable} in")


def test_a_changed_configuration_counts_from_the_next_call():
    """Part of row GC-35."""
    world = World({"a/x": [], "b/y": []})
    assert world.ask().model == "a/x"
    world.catalog.configure(ModelsConfig(default="b/y", probe=False))
    assert world.ask().model == "b/y"
    bad = {"here": Provider(kind="openai-compatible", base_url="")}
    with pytest.raises(Invalid):
        world.catalog.configure(ModelsConfig(default="a/x", providers=bad, probe=False))
    assert world.ask().model == "b/y"


def test_models_that_are_named_and_cannot_be_asked_are_told_beforehand():
    config = ModelsConfig(
        default="offline/rules",
        roles={"small": Role(model="opnai/x", fallback=("offline/rules",))},
        fallback={"a/b": ("anthropic/claude", "offline/rules", "opnai/x")},
        probe=False,
    )
    (first, why), (second, also) = Catalog(config).doubts()
    assert (first, second) == ("opnai/x", "anthropic/claude")
    assert "There is no model 'opnai/x'." in why
    assert "holdfast connect anthropic" in also


def test_a_key_that_was_mended_is_not_left_alone_any_longer(tmp_path: Path):
    keep = tmp_path / "health.json"
    world = World({"a/x": [fails("auth")], "b/y": []}, keep=keep)
    assert world.ask().model == "b/y"
    assert world.ask().model == "b/y"
    world.catalog = world.opened()
    assert world.ask().model == "a/x", "a restart looks at it anew"


def test_a_provider_that_was_changed_starts_anew():
    def config(key: str) -> ModelsConfig:
        url = "http://127.0.0.1:9/v1"
        lab = Provider(kind="openai-compatible", base_url=url, api_key=key)
        return ModelsConfig(providers={"lab": lab}, probe=False)

    catalog = Catalog(config("old"), now=lambda: 1_000)
    health: Remembered = vars(catalog)["_health"]
    health.given_up("lab/x", RULES["auth"], fails("auth"), 0, Patience())
    catalog.configure(config("old"))
    assert [one.available for one in catalog.health()] == [False]
    catalog.configure(config("new"))
    assert [one.available for one in catalog.health()] == [True]


def test_when_to_come_back_is_what_the_provider_said_even_below_the_threshold():
    world = World({"a/x": [fails("overloaded", 99)]}, patience=Patience(failures_to_open=5))
    assert world.fail().retry_after == 99


# In every order of events

OUTCOMES = st.sampled_from(["", "", *RULES, "rate_limited:9", "rate_limited:99"])


def scripted(outcome: str) -> Reply | ModelFailure:
    code, _, told = outcome.partition(":")
    if code == "empty":
        return Reply()
    return fails(code, float(told or 0)) if code else Reply(text="good")


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[dict[str, list[str]], float]]:
    names = draw(st.sampled_from([NAMES[:1], NAMES[:2], NAMES]))
    one = st.fixed_dictionaries({name: st.lists(OUTCOMES, max_size=5) for name in names})
    return draw(
        st.lists(st.tuples(one, st.sampled_from([0.0, 30, 61, 4000])), min_size=1, max_size=6)
    )


def told(
    story: list[tuple[dict[str, list[str]], float]], patience: Patience
) -> Iterator[tuple[World, Reply | ModelFailure, dict[str, Health]]]:
    """The story, call by call: the world, what came of the call, and how the models were before."""
    world = World({name: [] for name in story[0][0]}, patience=patience)
    for scripts, pause in story:
        for name, outcomes in scripts.items():
            world.scripts[name][:] = [scripted(one) for one in outcomes]
        world.asked.clear()
        world.while_cooling.clear()
        world.heard.clear()
        before: dict[str, Health] = dict(vars(world.catalog)["_health"].scene.health)
        try:
            came: Reply | ModelFailure = world.ask()
        except ModelFailure as failure:
            came = failure
        yield world, came, before
        world.wait(pause)


@settings(max_examples=60, deadline=None)
@given(story=stories(), retries=st.integers(0, 3), opens=st.integers(1, 3))
def test_whatever_happens_the_rules_hold(
    story: list[tuple[dict[str, list[str]], float]], retries: int, opens: int
):
    """Never two tries at once, never too many, none of a cooling model while another is well."""
    patience = Patience(retries=retries, failures_to_open=opens)
    for world, came, before in told(story, patience):
        real = [one for one in came.tried if one.code != "skipped"]
        assert [one.model for one in real] == world.asked
        assert len(world.asked) <= len(world.scripts) + retries
        assert world.book.most_open == 1
        assert world.book.open == 0
        start = world.now - sum(round(p * 1000) for p in world.pauses)
        world.pauses.clear()
        if world.while_cooling:
            assert all(before.get(name, UNKNOWN).left(start) for name in world.scripts)
        since = max((i for i, d in enumerate(world.heard) if d.reset), default=-1) + 1
        heard = "".join(delta.text for delta in world.heard[since:])
        assert heard == (came.text if isinstance(came, Reply) else "")
        if isinstance(came, ModelFailure):
            assert real[-1].next == "give up"
            assert all(one.next in {"retry", "failover"} for one in real[:-1])


@settings(max_examples=25, deadline=None)
@given(story=stories())
def test_the_same_story_is_told_the_same_way(story: list[tuple[dict[str, list[str]], float]]):
    def once() -> list[object]:
        return [
            (codes(came.tried), list(world.pauses), world.now)
            for world, came, _ in told(story, Patience())
        ]

    assert once() == once()


class Slow:
    """A model with several moments at which a call can be cut off."""

    def __init__(self, name: str, outcomes: list[str]) -> None:
        self.name, self.window, self._outcomes = name, 0, outcomes
        self.sent = False
        self.inner = ScriptedModel([], name=name)
        self.reserve = self.inner.reserve

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        self.sent = True
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        hear(Delta(text="go"))
        await anyio.lowlevel.checkpoint()
        came = scripted(self._outcomes.pop(0) if self._outcomes else "")
        if isinstance(came, ModelFailure):
            self.sent = False
            raise came
        hear(Delta(text="od"))
        self.sent = False
        return came


@settings(max_examples=80, deadline=None)
@given(
    outcomes=st.lists(st.lists(OUTCOMES, max_size=3), min_size=1, max_size=3),
    moment=st.integers(0, 40),
    inside=st.booleans(),
)
def test_wherever_a_call_is_cut_off_every_hold_is_ended_once(
    outcomes: list[list[str]], moment: int, inside: bool
):
    async def play() -> None:
        scope = anyio.CancelScope()
        count = 0

        def cut() -> None:
            nonlocal count
            count += 1
            if count == moment:
                scope.cancel()

        book = Book(cut if inside else None)
        more = {name: Slow(name, list(one)) for name, one in zip(NAMES, outcomes, strict=False)}
        first, *others = more
        config = ModelsConfig(default=first, probe=False, fallback={first: tuple(others)})

        async def no_pause(_: float) -> None:
            await anyio.lowlevel.checkpoint()

        catalog = Catalog(config, more=more, now=lambda: 0, sleep=no_pause)

        async def wait_and_cut() -> None:
            for _ in range(moment):
                await anyio.lowlevel.checkpoint()
            scope.cancel()

        async with anyio.create_task_group() as group:
            if not inside:
                group.start_soon(wait_and_cut)
            with scope, suppress(ModelFailure):
                await catalog.answer("", prompt("hello"), (), nothing, book)
            group.cancel_scope.cancel()
        assert book.open == 0, book.rows
        holds = [row for row in book.rows if row.startswith("hold")]
        assert len(holds) == len(book.ends)
        if any(model.sent for model in more.values()):
            assert book.ends[-1] == "lose", "what was sent may have been paid"

    anyio.run(play)
