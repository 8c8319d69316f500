"""A conversation that is longer than the model can read, over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.testing.model_server import ModelServer, Reply, ScriptedCall
from tests.e2e.test_acceptance import CONFIG, User


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    someone = User(tmp_path)
    yield someone
    someone.types("serve", "stop", status=None)


def reading(page: int) -> Reply:
    return Reply(calls=(ScriptedCall(name="read", arguments={"path": f"{page}.txt"}),))


def sizes(server: ModelServer) -> list[int]:
    return [len(json.dumps(request.body["messages"])) for request in server.requests]


def test_a_small_window_shortens_what_a_model_is_shown(user: User) -> None:
    """Row GC-38."""
    for page in range(4):
        (user.files / f"{page}.txt").write_text(f"{page} " * 2_500)
    script = [reading(page) for page in range(4)] + [Reply(text="done")]
    for window, whole in ((0, True), (4_000, False)):
        with ModelServer(script) as server:
            config = CONFIG.format(url=server.url) + f"window = {window}\n"
            (user.home / "config.toml").write_text(config)
            user.types("run", "read everything")
            told = json.dumps(server.requests[-1].body)
            assert ("[older output shortened]" not in told) is whole
            assert (sizes(server)[-1] > 20_000) is whole
        user.types("serve", "stop")


def test_a_conversation_that_the_provider_finds_too_long_is_cut_and_asked_again(user: User) -> None:
    """Row OK-19."""
    for page in range(4):
        (user.files / f"{page}.txt").write_text(f"{page} " * 2_500)
    text = "This model's maximum context length is 4096 tokens."
    script = [*(reading(page) for page in range(4)), Reply(status=400, text=text)]
    with ModelServer([*script, Reply(text="done")]) as server:
        (user.home / "config.toml").write_text(CONFIG.format(url=server.url))
        done = user.types("run", "read everything")
        assert done.stdout == "done\n"
        assert "too long for the model: asking again with" in done.stderr
        assert sizes(server)[-1] < sizes(server)[-2] * 0.7
