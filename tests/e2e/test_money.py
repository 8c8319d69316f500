"""Money as a user meets it: a budget that is used up, a yes, another day's worth, and the books."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.model_server import ModelServer, Reply, Usage
from tests.e2e.at_home import until
from tests.e2e.test_acceptance import User

CONFIG = """\
[server]
port = 0

[agent]
tools = ["read"]  # what a call can cost depends on what the model is told of

[models]
default = "far/m"
detect_local = false

[models.providers.far]
kind = "openai"
base_url = "{url}/v1"
models = ["m"]
free = false
max_output = 100

[models.price."far/m"]
input = 2.0
output = 10.0

[[budget]]
scope = "agent"
of = "*"
per = "day"
usd = 0.03
"""
FINE = Reply(text="Fine.", usage=Usage(input=4000, output=100))  # $0.009


@pytest.fixture
def provider() -> Iterator[ModelServer]:
    with ModelServer(default=FINE) as server:
        yield server


@pytest.fixture
def user(tmp_path: Path, provider: ModelServer) -> Iterator[User]:
    someone = User(tmp_path)
    config = someone.home / "config.toml"
    config.write_text(CONFIG.format(url=provider.url))
    yield someone
    someone.types("serve", "stop", status=None)


def told(user: User, *words: str) -> Any:
    return json.loads(user.types(*words, "--json").stdout)


def spend_the_budget(user: User) -> None:
    """Two calls of $0.009: a long one may need more than the $0.012 that are left."""
    for _ in range(2):
        assert user.types("run", "hello").stdout == "Fine.\n"


def asking(user: User, task: str) -> bool:
    row = told(user, "task", "show", task)
    return row["status"] == "WAITING" and bool(row["questions"])


def test_a_task_without_money_asks_and_goes_on_after_a_yes(
    user: User, provider: ModelServer
) -> None:
    """Rows OL-35, OL-41."""
    spend_the_budget(user)
    task = user.types("run", "--detach", "x" * 8_000).stdout.strip()
    until(lambda: asking(user, task))
    assert len(provider.requests) == 2
    asked = user.types("approvals").stdout
    assert "the budget agent/default/day/" in asked
    assert "by $0.0300?" in asked
    user.types("task", "approve", task)
    until(lambda: told(user, "task", "show", task)["status"] == "SUCCEEDED")
    assert told(user, "task", "verify", task)["ok"]
    (budget,) = told(user, "budget", "list")["budgets"]
    assert budget["percent"] == 45
    costs = told(user, "costs", "--by", "model")
    assert costs["total"]["usd"] == pytest.approx(0.027)


def test_where_nobody_can_say_yes_the_task_fails_in_words_and_can_be_tried_again(
    user: User, provider: ModelServer
) -> None:
    """Row OK-131."""
    failed = user.types("run", "--budget", "0.001", "hello", status=1)
    assert failed.stdout == ""
    assert "money: $0.0000 used, up to $" in failed.stderr
    assert not provider.requests
    task = told(user, "task", "list")["tasks"][0]["id"]
    user.types("task", "retry", task, "--budget", "0.02")
    until(lambda: told(user, "task", "show", task)["status"] == "SUCCEEDED")


def test_a_task_that_waits_for_money_goes_on_when_the_configuration_allows_more(
    user: User, provider: ModelServer
) -> None:
    spend_the_budget(user)
    task = user.types("run", "--detach", "x" * 8_000).stdout.strip()
    until(lambda: asking(user, task))
    config = user.home / "config.toml"
    config.write_text(config.read_text().replace("usd = 0.03", "usd = 5"))
    until(lambda: told(user, "task", "show", task)["status"] == "SUCCEEDED")
    assert not told(user, "approvals")["approvals"]


def test_a_model_without_a_price_is_used_only_after_a_yes(
    user: User, provider: ModelServer
) -> None:
    config = user.home / "config.toml"
    config.write_text(config.read_text().replace('[models.price."far/m"]', '[models.price."no/m"]'))
    alone = user.types("run", "hello", status=1)
    assert "no price is known for far/m" in alone.stderr
    task = user.types("run", "--detach", "hello").stdout.strip()
    until(lambda: asking(user, task))
    assert not provider.requests
    user.types("task", "approve", task)
    until(lambda: told(user, "task", "show", task)["status"] == "SUCCEEDED")
    assert told(user, "costs")["total"]["unpriced"] == 1
