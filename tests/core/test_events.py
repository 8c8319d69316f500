"""Events as they are stored: readable for ever, damaged or newer ones refused.

The golden files are what was stored in the past. `HOLDFAST_REGEN=1` writes those that are
missing; one that exists is never written again: a kind that must change gets `<Kind>@2.json`.
"""

import os
from pathlib import Path
from typing import get_args

import pytest

from holdfast.core import event as e
from holdfast.core.error import Broken
from holdfast.core.evolve import evolve
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Returned
from holdfast.core.task import Delivery, Status, Task, Timer
from tests.core.given import NOW, running
from tests.core.samples import EVENTS, VARIANTS

GOLDEN = Path(__file__).parent.parent / "golden" / "events"


def golden(kind: str) -> bytes:
    path = GOLDEN / f"{kind}@1.json"
    if os.environ.get("HOLDFAST_REGEN") and not path.exists():
        path.write_bytes(e.encode(EVENTS[kind]) + b"\n")
    return path.read_bytes().rstrip(b"\n")


@pytest.mark.parametrize("kind", e.KINDS)
def test_what_was_stored_once_can_be_read_for_ever(kind: str):
    stored = golden(kind)
    assert e.decode(kind, stored) == EVENTS[kind]
    assert e.encode(EVENTS[kind]) == stored


def test_every_kind_of_event_has_a_golden_file_and_every_file_a_kind():
    assert {path.name for path in GOLDEN.iterdir()} == {f"{kind}@1.json" for kind in e.KINDS}
    assert set(e.KINDS.values()) == set(get_args(e.Event))


@pytest.mark.parametrize("event", VARIANTS)
def test_an_event_is_the_same_after_it_was_stored(event: e.Event):
    assert e.decode(type(event).__name__, e.encode(event)) == event


def test_an_event_of_an_unknown_kind_is_never_skipped():
    with pytest.raises(Broken, match="written by a newer Holdfast") as damage:
        e.decode("Paused", b"{}")
    assert damage.value.code == "unknown_event"
    assert damage.value.hint


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"at":"now"}', b"\xff"])
def test_a_damaged_event_says_what_it_was(body: bytes):
    with pytest.raises(Broken, match="a Woken event cannot be read") as damage:
        e.decode("Woken", body)
    assert damage.value.code == "damaged_event"


def test_an_event_whose_words_are_no_text_says_so_too():
    with pytest.raises(Broken, match="a Said event cannot be read"):
        e.decode("Said", b'{"text":"\xff","by":"me"}')


def test_a_field_added_later_does_not_hide_the_rest():
    assert e.decode("Woken", b'{"at":5,"added":{"later":1}}') == e.Woken(at=5)


@pytest.mark.parametrize(
    "event",
    [
        e.CallStarted(call_id=CallId("x")),
        e.CallWaiting(call_id=CallId("x"), wait=Timer(until=NOW)),
        e.CallApproved(call_id=CallId("x"), by="ann", digest=""),
        e.CallCleared(call_id=CallId("x"), reason=""),
        e.CallDoubted(call_id=CallId("x")),
        e.CallSettled(call_id=CallId("x"), outcome=Returned(text="")),
    ],
)
def test_an_event_about_a_call_that_is_not_open_is_damage(event: e.Event):
    with pytest.raises(Broken, match="call x is not open") as damage:
        evolve(running().task, event)
    assert damage.value.code == "damaged_stream"


def test_a_delivery_that_was_not_due_is_read_as_one():
    task = Task(id=TaskId("t"), status=Status.SUCCEEDED)
    failed = e.DeliveryFailed(channel="mail", error="no route", retry_at=9)
    after = evolve(task, failed).deliveries
    assert after == {"mail": Delivery(tries=1, due=9, error="no route")}
