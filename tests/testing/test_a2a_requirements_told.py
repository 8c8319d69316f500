"""What A2A's compatibility kit requires of a server: what is told in streams, and by pushes."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from holdfast.testing.website import Asked, Reply, Website
from tests.e2e.at_home import until
from tests.testing.a2a_forms import FORMS, Peer, message, state

pytestmark = pytest.mark.timeout(120)
OVER = ("COMPLETED", "FAILED", "CANCELED", "REJECTED")


@pytest.fixture(params=FORMS)
def to(request: pytest.FixtureRequest, sut: str) -> Generator[Peer]:
    peer = Peer(request.param, f"{sut}/a2a")
    yield peer
    peer.close()


@pytest.fixture
def hook() -> Generator[Website]:
    def taken(_: Asked) -> Reply:
        return Reply(body=b"{}", headers={"content-type": "application/json"})

    with Website(rule=taken) as made:
        yield made


@pytest.mark.parametrize("scenario", ["stream-001", "stream-003", "stream-artifact-text"])
def test_a_stream_begins_with_the_task_and_ends_with_it(to: Peer, scenario: str) -> None:
    """CORE-STREAM-001, CORE-STREAM-003, STREAM-ORDER-001, JSONRPC-SSE-001, HTTP_JSON-SSE-001."""
    with to.follow("SendStreamingMessage", message=message(scenario)) as told:
        events = list(told)
    assert "task" in events[0]
    assert state(events[-1]) in OVER
    assert [state(one) for one in events if state(one) in OVER] == ["COMPLETED"]


def test_the_pieces_of_an_artifact_make_the_whole(to: Peer) -> None:
    """STREAM-ORDER-001, DM-ART-001."""
    with to.follow("SendStreamingMessage", message=message("stream-artifact-chunked")) as told:
        updates = [one["artifactUpdate"] for one in told if "artifactUpdate" in one]
    text = ""
    for one in updates:
        said = "".join(part.get("text", "") for part in one["artifact"]["parts"])
        text = text + said if one.get("append") else said
    assert text == "chunk-1 chunk-2"
    assert updates[-1]["lastChunk"]


def test_who_subscribes_hears_the_task_and_then_all_to_its_end(to: Peer) -> None:
    """STREAM-SUB-001, STREAM-SUB-002."""
    waits = to.task("input-required")
    with to.follow("SubscribeToTask", id=waits["id"]) as told:
        assert next(told)["task"]["id"] == waits["id"]
        completed(to, waits["id"])
        assert state(list(told)[-1]) == "COMPLETED"


def test_a_task_that_has_ended_is_not_subscribed_to(to: Peer) -> None:
    """STREAM-SUB-003."""
    over = to.task("complete-task")
    assert to.ask("SubscribeToTask", id=over["id"]).reason == "UNSUPPORTED_OPERATION"


@pytest.mark.parametrize("leaves", [False, True])
def test_streams_of_one_task_hear_the_same_in_the_same_order(to: Peer, *, leaves: bool) -> None:
    """STREAM-ORDER-002, STREAM-ORDER-003, STREAM-ORDER-004."""
    task = to.task("input-required")["id"]
    ready = threading.Barrier(3)

    def heard(*, goes: bool) -> list[dict[str, Any]]:
        peer = Peer(to.form, to.url)
        with contextlib.closing(peer), peer.follow("SubscribeToTask", id=task) as told:
            first = next(told)
            if not goes:
                ready.wait(20)
                return [first, *told]
        ready.wait(20)
        return [first]

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(heard, goes=leaves), pool.submit(heard, goes=False)
        ready.wait(20)
        completed(to, task)
        few, all_of_it = one.result(20), other.result(20)
    assert len(all_of_it) > 1
    assert few == (all_of_it[:1] if leaves else all_of_it)


def completed(to: Peer, task: str) -> None:
    more = message("complete-task", taskId=task)
    assert state(to.ask("SendMessage", message=more).result) == "COMPLETED"


def test_a_place_to_tell_is_set_got_listed_and_taken_away_twice(to: Peer) -> None:
    """PUSH-CREATE-001, PUSH-CREATE-002, PUSH-GET-001, PUSH-GET-002, PUSH-LIST-001,
    PUSH-DEL-001, PUSH-DEL-002."""
    for _ in range(2):  # the same name at another task is another place
        task = to.task("complete-task")["id"]
        place = {"id": "tck-push", "url": "https://example.com/tck-push-webhook"}
        made = to.ask("CreateTaskPushNotificationConfig", taskId=task, **place).result
        which = {"taskId": task, "id": "tck-push"}
        assert to.ask("GetTaskPushNotificationConfig", **which).result == made
        assert (made["id"], made["url"]) == (place["id"], place["url"])
        listed = to.ask("ListTaskPushNotificationConfigs", taskId=task).result
        assert [one["id"] for one in listed["configs"]] == ["tck-push"]
        nobody = to.ask("GetTaskPushNotificationConfig", taskId=task, id="tck-nonexistent")
        assert nobody.error
        for _ in range(2):
            assert to.ask("DeleteTaskPushNotificationConfig", **which).error is None
        assert to.ask("GetTaskPushNotificationConfig", **which).error


def test_a_push_comes_with_its_credentials_as_what_a_stream_says(to: Peer, hook: Website) -> None:
    """PUSH-DELIVER-001, PUSH-DELIVER-002, PUSH-DELIVER-003."""
    place = {
        "id": "tck-push",
        "url": f"http://localhost:{hook.port}/webhook",
        "authentication": {"scheme": "Bearer", "credentials": "tck-test-token"},
    }
    asks = to.task("input-required", how={"taskPushNotificationConfig": place})
    completed(to, asks["id"])
    told = list(pushed(hook))
    assert {one.headers["authorization"] for one in hook.asked} == {"Bearer tck-test-token"}
    assert state(told[-1]) == "COMPLETED"


def pushed(hook: Website) -> Iterator[dict[str, Any]]:
    """What comes until the task has ended, each read with the protocol's own types."""
    for number in range(20):
        until(partial(_came, hook, number))
        told = json.loads(hook.asked[number].body)
        ParseDict(told, pb.StreamResponse())
        yield told
        if state(told) in OVER:
            return


def _came(hook: Website, number: int) -> bool:
    return len(hook.asked) > number
