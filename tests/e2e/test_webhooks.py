"""A webhook of a real daemon that dies: what happened is told, and told as one thing."""

import json
import os
import signal
from pathlib import Path

from holdfast.testing.website import Asked, Reply, Website
from tests.e2e.at_home import answers, daemon, files, holdfast, until


def test_kill_9_between_the_answer_and_the_note_tells_it_again_with_the_same_id(tmp_path: Path):
    """Part of row OK-124."""
    home, told = tmp_path / "home", list[Asked]()
    working = False

    def rule(asked: Asked) -> Reply | None:
        told.append(asked)
        return Reply(status=204) if working else Reply(hold=True)

    def listens() -> bool:
        return answers(home / "run" / "holdfast.sock")

    with Website(rule=rule) as site:
        (files(home) / "a.txt").write_text("one\n")
        with daemon(home) as running:
            until(listens)
            added = holdfast(
                home, "webhook", "add", "ci", f"{site.url}/x", "--private", "--on", "task.complete"
            )
            assert added.returncode == 0, added.stderr
            assert added.stdout.startswith("whsec_")
            assert holdfast(home, "run", "list the files").returncode == 0
            until(lambda: bool(told))  # it is on its way, and nobody has said that it arrived
            os.kill(running.pid, signal.SIGKILL)
            running.wait(10)
        working = True
        with daemon(home):
            until(lambda: len(told) > 1)
            until(listens)  # it tells before it listens; a command would start another one
            until(lambda: "set aside" not in holdfast(home, "webhook", "messages", "ci").stdout)
            listed = holdfast(home, "webhook", "list", "--json").stdout
            assert json.loads(listed)["webhooks"][0]["dead"] == 0
    assert len({asked.headers["webhook-id"] for asked in told}) == 1
    assert len({asked.body for asked in told}) == 1
    assert len({asked.headers["webhook-signature"] for asked in told}) >= 1
