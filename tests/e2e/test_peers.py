"""An agent that asks another: two houses, the way out between them, and what strangers say."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_script import RecordedRequest, Reply, ScriptedCall
from holdfast.testing.model_server import Catalogue, ModelServer
from tests.doors.a2a_stage import A2AStage, a2a_stage
from tests.e2e.at_home import files, holdfast, until

pytestmark = pytest.mark.timeout(180)
OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}


def asking(request: RecordedRequest) -> Reply:
    """A model that asks the agent elsewhere what it is asked, and says what came back."""
    last = request.messages[-1]
    if last.get("role") == "tool":
        return Reply(text=f"it said: {last.get('content')}")
    wanted = str(last.get("content"))
    return Reply(calls=(ScriptedCall(name="ask_far", arguments={"message": wanted}),))


class Near:
    """The house that asks, and the agent elsewhere that it asks."""

    def __init__(self, daemon: Daemon, model: ModelServer, far: A2AStage) -> None:
        self.daemon, self.model, self.far = daemon, model, far
        self.home = daemon.home

    def submit(self, text: str) -> str:
        return self.daemon.submit(text, files(self.home))

    def over(self, task: str) -> dict[str, Any]:
        until(lambda: self.daemon.get(f"/api/v1/tasks/{task}")["status"] in OVER)
        return self.daemon.get(f"/api/v1/tasks/{task}")

    def calls(self, task: str) -> list[dict[str, Any]]:
        events = self.daemon.get(f"/api/v1/tasks/{task}/events?limit=500")["events"]
        turns = [one["data"].get("judged", []) for one in events if one["kind"] == "Replied"]
        return [{"effect": "writes", **one["call"]} for turn in turns for one in turn]

    def there(self) -> list[Any]:
        """What the agent elsewhere has been given to do, newest first."""
        return self.far.daemon.get("/api/v1/tasks?limit=50")["tasks"]


@pytest.fixture(scope="module")
def near() -> Generator[Near]:
    with (
        a2a_stage() as far,
        stage("near") as place,
        ModelServer(rule=asking, catalogue=Catalogue(models=("scripted",))) as model,
        Daemon(place / "home") as daemon,
    ):
        use_model(daemon.home, model.url)
        with (daemon.home / "config.toml").open("a") as config:
            config.write('[policy]\npreset = "open"\n')
        daemon.start()
        secret = {"name": "peers/far", "value": far.token, "grants": ["*"], "per_minute": 0}
        daemon.post("/api/v1/secrets", secret)
        added = holdfast(
            daemon.home, "peer", "add", "far", far.url, "--secret", "peers/far", "--private"
        )
        assert added.returncode == 0, added.stderr
        yield Near(daemon, model, far)


def test_what_it_is_asked_is_done_there_and_what_it_says_is_a_strangers(near: Near) -> None:
    task = near.submit("hello over there")
    row = near.over(task)
    assert row["status"] == "SUCCEEDED"
    assert "one two three" in row["answer"]
    assert "--- outside" in row["answer"]
    (call,) = near.calls(task)
    assert (call["tool"], call["source"], call["effect"]) == ("ask_far", "peer:far", "writes")
    (there, *_) = near.there()
    assert there["title"] == "hello over there"
    assert near.far.token not in str(near.daemon.get(f"/api/v1/tasks/{task}/events?limit=500"))
    (visit, *_) = near.daemon.get(f"/api/v1/egress?task={task}")["visits"]
    assert visit["tool"] == "peer:far"


def test_after_a_kill_the_same_task_is_found_again_and_nothing_is_sent_twice(near: Near) -> None:
    before, asked = len(near.there()), len(near.far.model.requests)
    task = near.submit("hold this until I am back")
    near.far.model.wait_for_requests(asked + 1)
    near.daemon.kill()
    near.daemon.start()
    near.far.model.release()
    row = near.over(task)
    assert row["status"] == "SUCCEEDED", row
    assert "held until now" in row["answer"]
    assert len(near.there()) == before + 1
    assert len(near.far.model.requests) == asked + 1


def test_a_question_of_it_comes_back_and_a_file_is_kept(near: Near) -> None:
    row = near.over(near.submit("ask me something"))
    assert "input required" in row["answer"]
    assert "Which?" in row["answer"]
    row = near.over(near.submit("make a file"))
    assert "a file: made.txt text/plain, 9 bytes, kept as blob" in row["answer"]


def test_a_peer_is_listed_looked_at_and_forgotten(near: Near) -> None:
    seen = holdfast(near.home, "peer", "test", "far")
    assert seen.returncode == 0, seen.stderr
    assert "speaks A2A 1.0" in seen.stderr
    listed = holdfast(near.home, "peer", "list")
    assert "ask_far" in listed.stdout
    twice = holdfast(near.home, "peer", "add", "far", near.far.url)
    assert twice.returncode == 2
    gone = holdfast(near.home, "peer", "add", "gone", "http://127.0.0.1:9", "--private")
    assert gone.returncode == 0
    assert holdfast(near.home, "peer", "test", "gone").returncode == 4
    assert holdfast(near.home, "peer", "remove", "gone").returncode == 0
    assert holdfast(near.home, "peer", "remove", "gone").returncode == 2


def test_a_push_goes_on_after_a_kill_and_says_everything_in_order(near: Near) -> None:
    far, asked, before = near.far, len(near.far.model.requests), len(near.far.hook.asked)
    push = {"id": "p", "url": f"{far.hook.url}/p", "token": "known-here"}
    message = {"role": "ROLE_USER", "messageId": "push-kill", "parts": [{"text": "hold"}]}
    how = {"returnImmediately": True, "taskPushNotificationConfig": push}
    far.daemon.post("/a2a/message:send", {"message": message, "configuration": how})
    far.model.wait_for_requests(asked + 1)
    until(lambda: len(far.hook.asked) > before)
    far.daemon.kill()
    far.daemon.start()
    far.model.wait_for_requests(asked + 2)
    far.model.release()

    def told() -> list[str]:
        came = {one.headers["webhook-id"]: one.body.decode() for one in far.hook.asked[before:]}
        return list(came.values())

    until(lambda: any("COMPLETED" in one for one in told()))
    states = [one for one in told() if "statusUpdate" in one]
    assert "WORKING" in states[0]
    assert "COMPLETED" in states[-1]
    assert len([one for one in told() if "COMPLETED" in one]) == 1
    assert all(
        one.headers["x-a2a-notification-token"] == "known-here" for one in far.hook.asked[before:]
    )
