"""What may be seen of a task, and the names things have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import error as err
from holdfast.core.agent import Agent
from holdfast.core.evolve import fold
from holdfast.core.ids import GENESIS, canonical, digest, jitter, link, sortable
from holdfast.core.task import Status
from holdfast.core.view import encode, rank, summary, wake_at
from tests.core.given import NOW, busy, failing, in_status, queued, running

PRIORITIES = st.integers(-100, 100)
TIMES = st.integers(0, 10**14)


def test_a_summary_says_what_lists_need():
    """Row GC-04."""
    row = summary(queued("pay\n  the   bill", priority=3, session="s1", workspace="/w").task)
    assert (row.id, row.status, row.title) == ("task_1", Status.QUEUED, "pay the bill")
    assert (row.agent, row.by, row.session, row.priority) == ("default", "ann", "s1", 3)
    assert (row.submitted_at, row.workspace, row.parent) == (NOW, "/w", None)


def test_a_title_is_short():
    assert len(summary(queued("word " * 500).task).title) == 120


@pytest.mark.parametrize("status", Status)
def test_the_same_events_give_the_same_bytes(status: Status):
    story = in_status(status)
    assert encode(summary(fold(story.history))) == encode(summary(story.task))


def test_a_failed_task_shows_why_and_a_finished_one_does_not():
    assert summary(running().when(failing()).task).fault is not None
    assert summary(running().replies(text="done").task).answer == "done"


@pytest.mark.parametrize(
    ("status", "moment"), [(Status.QUEUED, None), (Status.SUCCEEDED, 0), (Status.NEW, None)]
)
def test_time_alone_moves_a_task_at_a_known_moment_or_never(status: Status, moment: int | None):
    assert wake_at(in_status(status).task) == moment


def test_the_next_moment_is_the_earliest():
    assert wake_at(busy().task) == NOW + 3_600_000


# The queue


@given(PRIORITIES, PRIORITIES, TIMES)
def test_of_two_that_came_together_the_more_important_goes_first(low: int, high: int, at: int):
    """Row GC-05."""
    assert (rank(high, at) < rank(low, at)) is (high > low)


@given(st.integers(-100, 9), st.integers(-100, 9), TIMES)
def test_waiting_never_starves(low: int, high: int, at: int):
    """Row GC-14."""
    patience = max(0, high - low) * 30_000
    assert rank(low, at) < rank(high, at + patience + 1)


@given(st.integers(10, 100), st.integers(-100, 9), TIMES, TIMES)
def test_what_is_urgent_goes_before_whatever_has_waited(high: int, low: int, a: int, b: int):
    """Row GC-14."""
    assert rank(high, a) < rank(low, b)


@given(PRIORITIES, TIMES)
def test_a_rank_fits_into_eight_bytes(priority: int, at: int):
    assert abs(rank(priority, at)) < 2**63


# Names


def test_ids_sort_by_time_and_are_version_seven():
    early, late = sortable("task", 1_000, bytes(10)), sortable("task", 1_001, b"\xff" * 10)
    assert early < late
    assert early == "task_0000000003e870008000000000000000"
    assert late == "task_0000000003e97fffbfffffffffffffff"


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=16))
def test_an_id_keeps_its_time_and_its_version(now: int, randomness: bytes):
    name = sortable("t", now, randomness).removeprefix("t_")
    assert (len(name), int(name[:12], 16), name[12]) == (32, now, "7")
    assert name[16] in "89ab"


def test_equal_values_have_equal_text():
    assert canonical({"b": 1, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


def test_the_chain_depends_on_everything_before_it():
    first = link(GENESIS, "Woken", 1, b"{}")
    others = {
        link(first, "Woken", 1, b"{}"),
        link(GENESIS, "Woven", 1, b"{}"),
        link(GENESIS, "Woken", 2, b"{}"),
        link(GENESIS, "Woken", 1, b"[]"),
    }
    assert len(others | {first}) == 5


@given(st.text(), st.integers(-5, 1_000))
def test_jitter_stays_within_its_span(key: str, span: int):
    assert 0 <= jitter(key, span) < max(1, span)
    assert jitter(key, span) == jitter(key, span)


def test_an_agent_is_known_by_its_content():
    assert Agent(name="a").revision == Agent(name="a").revision
    assert Agent(name="a").revision != Agent(name="a", lanes=5).revision


# Errors


def test_errors_carry_a_code_and_a_hint():
    plain, named = err.Refused("no"), err.Invalid("bad", code="bad_thing", hint="do it well")
    assert (plain.code, plain.hint, str(plain)) == ("refused", "", "no")
    assert (named.code, named.hint) == ("bad_thing", "do it well")
    full = err.Saturated("too much", retry_after=5)
    assert (full.retry_after, full.code, full.http_status, full.exit_code) == (
        5,
        "saturated",
        429,
        4,
    )


@pytest.mark.parametrize(
    ("kind", "parent", "http", "leaves"),
    [
        (err.Refused, err.HoldfastError, 409, 2),
        (err.NotFound, err.Refused, 404, 2),
        (err.Invalid, err.Refused, 422, 2),
        (err.Conflict, err.Refused, 409, 2),
        (err.NotAllowed, err.HoldfastError, 403, 3),
        (err.Unavailable, err.HoldfastError, 503, 4),
        (err.Saturated, err.Unavailable, 429, 4),
        (err.Broken, err.HoldfastError, 500, 70),
    ],
)
def test_the_tree_of_errors_is_as_drawn(
    kind: type[err.HoldfastError], parent: type[Exception], http: int, leaves: int
):
    assert kind.__base__ is parent
    assert (kind.http_status, kind.exit_code) == (http, leaves)
    drawn = [line for line in (err.__doc__ or "").splitlines() if f" {kind.__name__} " in line]
    assert f"HTTP {http}, exit {leaves}" in drawn[0]
