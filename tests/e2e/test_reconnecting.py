"""A client that follows a task over TCP while the daemon is killed again and again."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_script import Reply, ScriptedCall
from holdfast.testing.model_server import ModelServer

STEPS = 12
KILLS = 3


class Follower:
    """What an `EventSource` does: reads, and after a break goes on with the last id it has seen."""

    def __init__(self, home: Path, task: str) -> None:
        self._home, self.task = home, task
        self.seen: list[dict[str, Any]] = []
        self.end: dict[str, Any] | None = None

    def follow(self, url: str, most: int) -> None:
        """Until it has `most` events more, or the line breaks, or the task has ended."""
        token = (self._home / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        if self.seen:
            headers["Last-Event-ID"] = str(self.seen[-1]["seq"])
        kind, left = "", most
        path = f"{url}/api/v1/tasks/{self.task}/events"
        with httpx2.stream("GET", path, headers=headers, timeout=30) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                kind = value if name == "event" else kind
                if name != "data" or kind == "delta":
                    continue
                body = json.loads(value)
                if kind == "end":
                    self.end = body
                    return
                self.seen.append(body)
                left -= 1
                if not left:
                    return


def address(daemon: Daemon) -> str:
    listening: list[str] = daemon.get("/api/v1/status")["listening"]
    return next(one for one in listening if one.startswith("http"))


@pytest.mark.timeout(180)
def test_every_event_is_seen_once_and_in_order_across_kill_9(tmp_path: Path):
    """Part of row OC-69."""
    said = ({"path": "log", "content": f"{number}\n"} for number in range(STEPS))
    calls = [ScriptedCall(name="append", arguments=arguments) for arguments in said]
    replies = [*(Reply(calls=(call,)) for call in calls), Reply(text="done")]
    with ModelServer() as model, stage("reconnecting") as place:
        model.load(*replies, *[Reply(text="done")] * KILLS)
        home, files = place / "home", place / "files"
        files.mkdir(parents=True)
        use_model(home, model.url)
        with Daemon(home, {"HOLDFAST_SERVER_PORT": "0", "HOLDFAST_SERVER_HTTP": "true"}) as daemon:
            daemon.start()
            follower = Follower(home, daemon.submit("write", files))
            for _ in range(KILLS):
                follower.follow(address(daemon), 5)
                daemon.kill()
                daemon.start()
            follower.follow(address(daemon), 10_000)
            page = daemon.get(f"/api/v1/tasks/{follower.task}/events?limit=1000")
    assert follower.end is not None
    assert follower.end["status"] == "SUCCEEDED"
    assert [one["seq"] for one in follower.seen] == list(range(1, len(follower.seen) + 1))
    assert follower.seen == page["events"]
    assert len(follower.seen) > KILLS * 5
