"""The configuration over HTTP: seen without secrets, changed on top of what was seen."""

import dataclasses
import json
import tomllib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as some

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.settings import ModelsConfig
from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.assembly.models import models_config
from holdfast.assembly.settings import ConfigFile
from holdfast.config import Config, load
from holdfast.config.edit import edited
from holdfast.core.error import HoldfastError, Invalid, Refused
from tests.doors.house import FACTS, Plan, Street, street
from tests.doors.test_ws import called, listening

pytestmark = pytest.mark.anyio

TEXT = """\
# mine
[limits]
steps = 20  # enough
[models.providers.lab]
base_url = "http://127.0.0.1:9/v1"
api_key = "sk-very-secret"
models = [
  "a",  # the small one
  "b",
]
"""
PATH = "/api/v1/config"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@asynccontextmanager
async def configured(home: Path, text: str = TEXT) -> AsyncGenerator[Street]:
    (home / "config.toml").write_text(text)
    (home / "config.toml").chmod(0o600)
    environment = {"HOLDFAST_HOME": str(home), "HOLDFAST_LOG_LEVEL": "warning"}
    models = Catalog(ModelsConfig(env={}, probe=False))

    def check(told: Config) -> None:
        models.check(models_config(told, environment, MemoryVault()))

    file = ConfigFile(load(environment=environment), environment, check)
    plan = Plan(facts=dataclasses.replace(FACTS, settings=file))
    async with street(home, plan=plan) as at:
        yield at


async def read(at: Street) -> tuple[str, dict[str, Any]]:
    answer = await at.tcp.get(PATH)
    assert answer.status_code == 200
    rows = {one["key"]: one for one in answer.json()["settings"]}
    return answer.headers["etag"], rows


async def test_it_is_shown_with_where_each_key_was_set_and_without_secrets(tmp_path: Path):
    async with configured(tmp_path) as at:
        _, rows = await read(at)
        assert rows["limits.steps"] == {"key": "limits.steps", "value": 20, "source": "file"}
        assert rows["limits.attempts"]["source"] == "default"
        assert rows["log.level"]["source"] == "HOLDFAST_LOG_LEVEL"
        assert rows["models.providers"]["value"]["lab"]["api_key"] == "***"
        assert "sk-very-secret" not in (await at.tcp.get(PATH)).text


async def test_a_change_keeps_everything_else_and_the_secrets(tmp_path: Path):
    async with configured(tmp_path) as at:
        tag, rows = await read(at)
        lab = {**rows["models.providers"]["value"]["lab"], "models": ["c"]}
        changes = {
            "limits.steps": 30,
            "models.providers.lab.models": lab["models"],
            "models.providers.lab.api_key": lab["api_key"],
            "server.names": ["agents.lan"],
        }
        answer = await at.tcp.patch(PATH, json={"set": changes}, headers={"If-Match": tag})
        assert answer.status_code == 200, answer.text
        text = (tmp_path / "config.toml").read_text()
        assert text.startswith("# mine\n[limits]\nsteps = 30\n")
        told = tomllib.loads(text)
        assert told["models"]["providers"]["lab"] == {
            "base_url": "http://127.0.0.1:9/v1",
            "api_key": "sk-very-secret",
            "models": ["c"],
        }
        assert told["server"]["names"] == ["agents.lan"]
        assert (tmp_path / "config.toml").stat().st_mode & 0o077 == 0
        fresh, rows = await read(at)
        assert fresh == answer.headers["etag"] != tag
        assert rows["limits.steps"]["value"] == 30
        (record, *_) = (await at.tcp.get("/api/v1/audit?kind=config")).json()["records"]
        assert record["fact"]["by"] == "token:default"
        assert record["fact"]["subject"].startswith("limits.steps models.providers.lab.api_key")
        assert {path.name for path in tmp_path.glob(".config*")} <= {".config.toml.lock"}


async def test_what_would_not_be_taken_over_is_refused_and_not_written(tmp_path: Path):
    """A provider that could be read, but that nobody could ask."""
    async with configured(tmp_path) as at:
        tag, _ = await read(at)
        before = (tmp_path / "config.toml").read_text()
        change = {"models.providers.far.models": ["a"]}
        refused = await at.tcp.patch(PATH, json={"set": change}, headers={"If-Match": tag})
        assert refused.status_code == 422
        assert "far: base_url is missing" in refused.text
        assert (tmp_path / "config.toml").read_text() == before


async def test_null_takes_a_key_out(tmp_path: Path):
    async with configured(tmp_path) as at:
        tag, _ = await read(at)
        body = {"set": {"limits.steps": None, "limits.tokens": None}}
        answer = await at.tcp.patch(PATH, json=body, headers={"If-Match": tag})
        assert answer.status_code == 200
        assert "steps" not in (tmp_path / "config.toml").read_text()


async def test_who_changes_what_they_have_not_seen_is_told_to_look_first(tmp_path: Path):
    async with configured(tmp_path) as at:
        tag, _ = await read(at)
        body = {"set": {"limits.steps": 30}}
        assert error(await at.tcp.patch(PATH, json=body)) == (428, "no_if_match")
        assert (await at.tcp.patch(PATH, json=body, headers={"If-Match": tag})).status_code == 200
        again = await at.tcp.patch(
            PATH, json={"set": {"limits.steps": 40}}, headers={"If-Match": tag}
        )
        assert error(again) == (412, "stale")
        assert "steps = 30" in (tmp_path / "config.toml").read_text()


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"limits.steps": 0}, 422, "bad_config"),
        ({"limits.stepz": 5}, 422, "bad_config"),
        ({"limits": {"steps": 5}}, 422, "bad_config"),
        ({"../x.y": 5}, 422, "bad_config"),
        ({"server.listen": "0.0.0.0"}, 422, "bad_config"),
        ({"models.providers.other.api_key": "***"}, 422, "bad_config"),
        ({"limits.steps": "\x7f"}, 409, "by_hand"),
        ({}, 422, "invalid"),
    ],
)
async def test_what_would_not_start_is_not_written(
    tmp_path: Path, changes: dict[str, Any], status: int, code: str
):
    async with configured(tmp_path) as at:
        tag, _ = await read(at)
        answer = await at.tcp.patch(PATH, json={"set": changes}, headers={"If-Match": tag})
        assert error(answer) == (status, code)
        assert (tmp_path / "config.toml").read_text() == TEXT
        assert not list(tmp_path.glob("*.trial"))
        assert "trial" not in answer.text


@pytest.mark.parametrize(
    "key",
    [
        *("server.port", "server.host", "server.tls", "server.certificate_key"),
        *("vault.env_file", "vault.redact_patterns", "audit.mirror", "storage.retention_days"),
    ],
)
async def test_who_reaches_the_house_and_what_it_proves_is_not_changed_from_afar(
    tmp_path: Path, key: str
):
    """Row OC-12: any other key is changed above, and with `dry_run` only tried."""
    async with configured(tmp_path) as at:
        tag, _ = await read(at)
        for body in ({"set": {key: 1}}, {"set": {"limits.steps": 7, key: None}, "dry_run": True}):
            answer = await at.tcp.patch(PATH, json=body, headers={"If-Match": tag})
            assert error(answer) == (409, "not_mutable")
            assert answer.json()["detail"] == f"{key} is not mutable from here"
        assert (tmp_path / "config.toml").read_text() == TEXT


async def test_a_change_that_is_only_tried_is_judged_and_not_made(tmp_path: Path):
    """Part of row OC-12: `dry_run` validates only."""
    async with configured(tmp_path) as at:
        tag, _ = await read(at)
        body = {"set": {"limits.steps": 30}, "dry_run": True}
        tried = await at.tcp.patch(PATH, json=body, headers={"If-Match": tag})
        assert (tried.status_code, tried.headers["etag"]) == (200, tag)
        rows = {one["key"]: one["value"] for one in tried.json()["settings"]}
        assert rows["limits.steps"] == 30
        assert (await read(at))[1]["limits.steps"]["value"] == 20
        assert (tmp_path / "config.toml").read_text() == TEXT
        assert not (await at.tcp.get("/api/v1/audit?kind=config")).json()["records"]
        body = {"set": {"limits.steps": 0}, "dry_run": True}
        answer = await at.tcp.patch(PATH, json=body, headers={"If-Match": tag})
        assert error(answer) == (422, "bad_config")


async def test_over_the_socket_it_is_the_same(tmp_path: Path):
    """Row GC-62: masked, changed on top of what was seen, a host of the way out, and what happened.

    An incident is the task's events and what the audit says of it; as files it is the bundle.
    """
    async with configured(tmp_path) as at, listening(at) as url, called(url) as caller:
        seen = await caller.result("config.get")
        assert "sk-very-secret" not in json.dumps(seen)
        tag = {"If-Match": seen["tag"]}
        host = {"egress.allow": [{"host": "api.example.com"}], "models.default": "lab/b"}
        assert await caller.failure("config.edit", set=host) == (1000, "no_if_match")
        fresh = await caller.result("config.edit", set=host, _headers=tag)
        assert fresh["tag"] != seen["tag"]
        assert fresh["fingerprint"] != seen["fingerprint"]
        assert (await caller.failure("config.edit", set=host, _headers=tag))[1] == "stale"
        rows = {one["key"]: one["value"] for one in (await caller.result("config.get"))["settings"]}
        assert rows["egress.allow"][0]["host"] == "api.example.com"
        kept = tomllib.loads((tmp_path / "config.toml").read_text())
        assert kept["models"]["providers"]["lab"]["api_key"] == "sk-very-secret"
        row = await at.done()
        events = (await caller.result("tasks.events", ref=row["id"]))["events"]
        audited = (await caller.result("audit.list", task=row["id"]))["records"]
        assert (events[0]["kind"], events[-1]["kind"]) == ("Submitted", "Failed")
        assert {one["fact"]["kind"] for one in audited} >= {"task.submitted", "task.ended"}
        told = (await caller.result("audit.list", kind="config"))["records"][0]["fact"]
        assert (told["by"], told["subject"]) == ("token:default", "egress.allow models.default")


async def test_only_who_may_do_everything_sees_or_changes_it(tmp_path: Path):
    async with configured(tmp_path) as at, await at.keyed("status", "secrets", "policy") as ci:
        assert error(await ci.get(PATH)) == (403, "no_scope")
        answer = await ci.patch(PATH, json={"set": {"limits.steps": 3}}, headers={"If-Match": "x"})
        assert error(answer) == (403, "no_scope")


ODD = (
    "limits = { steps = 5 }\n",
    "limits.steps = 5\n",
    '[limits]\n"steps" = 5\n',
    "[limits]\nsteps = 5 # [box]\n[[budget]]\nsteps = 1\n",
    'x = """\n[limits]\nsteps = 9\n"""\n[limits]\nsteps = 5\n',
    "[ limits ]\r\nsteps = 5\r\n",
    "",
)


@given(
    some.sampled_from(ODD),
    some.sampled_from(["limits.steps", "limits.calls", "a.b.c", "budget.steps"]),
    some.none() | some.integers() | some.text(max_size=20) | some.lists(some.text(max_size=5)),
)
def test_an_edit_says_exactly_what_was_wanted_or_is_refused(text: str, key: str, value: Any):
    before = tomllib.loads(text)
    try:
        after = tomllib.loads(edited(text, {key: value}))
    except (Invalid, Refused):
        return
    found: Any = after
    for step in key.split("."):
        found = cast("dict[str, Any]", found).get(step) if isinstance(found, dict) else None
    assert found == value
    *table, _ = key.split(".")
    assert {k: v for k, v in after.items() if k != table[0]} == {
        k: v for k, v in before.items() if k != table[0]
    }


def test_errors_of_an_edit_are_words():
    with pytest.raises(HoldfastError, match="cannot be changed from here"):
        edited("limits = { steps = 5 }\n", {"limits.steps": 6})
