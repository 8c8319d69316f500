"""What each path does, through the front door of a house of fakes."""

import base64
import io
import json
import logging
import os
import pwd
import zipfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
import pytest

from holdfast.adapters.models.reading import shaped
from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.core.agent import Agent, Shape, Style
from holdfast.core.budget import Limits
from holdfast.core.context import Prompt
from holdfast.core.error import Unavailable
from holdfast.core.gate.policy import Rule, Rules, Say
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import TaskId
from holdfast.core.message import File, PersonSaid, Reply, Thought, Usage
from holdfast.core.view import Summary
from holdfast.doors.http.access import MAX_BODY
from holdfast.doors.http.route import Facts
from holdfast.engine.supervise import Intake
from holdfast.ports.model import Delta, ModelHealth
from tests.doors.house import PAYS, TOKEN, Plan, client, street

pytestmark = pytest.mark.anyio

HELLO = Reply(text="hello")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def never(prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
    await anyio.sleep_forever()
    raise AssertionError


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_submitted_task_is_accepted_at_once_and_can_be_read_until_it_is_done(
    tmp_path: Path,
):
    """Row OC-68. Row OK-120."""
    async with street(tmp_path, [HELLO]) as at:
        answer = await at.tcp.post("/api/v1/tasks", json={"prompt": "say hello", "session": "s1"})
        row = answer.json()
        assert answer.status_code == 202
        assert answer.headers["location"] == f"/api/v1/tasks/{row['id']}"
        assert (row["title"], row["session"], row["by"]) == ("say hello", "s1", "token:default")
        assert row["workspace"] == str(tmp_path / "workspace")
        assert row["cost_usd"] == 0
        assert row["id"].endswith(row["short"])
        done = await at.until(row["short"], "SUCCEEDED")
        assert (done["answer"], done["spent"]["steps"]) == ("hello", 1)
        missing = await at.tcp.get("/api/v1/tasks/nothing-like-it")
        assert error(missing) == (404, "task_not_found")


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"{", "invalid_json", "the body is not JSON"),
        (b"\xff", "invalid_json", "the body is not JSON"),
        (b"[]", "invalid", "the body: Input should be an object"),
        (b"{}", "invalid", "prompt: Field required"),
        (b'{"prompt": 3}', "invalid", "prompt: Input should be a valid string"),
        (b'{"prompt": "x", "promt": 1, "limits": {"stepz": 1}}', "invalid", '"promt"'),
        (b'{"prompt": "x", "limits": {"stepz": 1}}', "invalid", '"limits.stepz"'),
        (b'{"prompt": "x", "limits": {"steps": 0}}', "invalid", "limits.steps: "),
        (b'{"prompt": " "}', "empty_prompt", "the task is empty"),
        (b'{"prompt": "x", "model": "no/such"}', "invalid", "no/such"),
        (b'{"prompt": "x", "preset": "odd"}', "invalid", "odd"),
        (b'{"prompt": "x", "workspace": "here"}', "bad_workspace", "not an absolute path"),
        (b'{"prompt": "x", "deliver": ["pigeon"]}', "no_such_channel", "pigeon"),
    ],
)
async def test_a_task_that_cannot_be_run_is_refused_with_what_is_wrong(
    tmp_path: Path, body: bytes, code: str, words: str
):
    """Part of row OC-66."""
    async with street(tmp_path) as at:
        answer = await at.tcp.post("/api/v1/tasks", content=body)
        assert error(answer) == (422, code)
        assert words in answer.json()["detail"]
        assert (await at.tcp.get("/api/v1/tasks")).json()["tasks"] == []


async def test_submitting_has_one_answer_for_each_way_it_can_go(tmp_path: Path):
    """Row OC-66."""
    plan = Plan(intake=Intake(lanes=1, depth=1, drain=0.0))
    async with street(tmp_path, never, plan=plan) as at:
        running = await at.tcp.post("/api/v1/tasks", json={"prompt": "one"})
        assert (running.status_code, running.json()["status"]) == (202, "QUEUED")
        await at.until(running.json()["id"], "RUNNING")
        assert (await at.tcp.post("/api/v1/tasks", json={"prompt": "two"})).status_code == 202
        full = await at.tcp.post("/api/v1/tasks", json={"prompt": "three"})
        assert error(full) == (429, "saturated")
        assert int(full.headers["retry-after"]) >= 1
        assert error(await at.tcp.post("/api/v1/tasks", content=b"no")) == (422, "invalid_json")
        assert error(await at.tcp.post("/api/v1/tasks", json={})) == (422, "invalid")
        nobody = client(at.app)
        answer = await nobody.post("/api/v1/tasks", json={"prompt": "x"})
        assert error(answer) == (401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_queue_is_bounded_and_what_is_in_it_survives_the_daemon(tmp_path: Path):
    """Row OC-70."""
    journal = MemoryJournal()
    plan = Plan(intake=Intake(lanes=1, depth=64, drain=0.0))
    async with street(tmp_path, never, journal, plan) as at:
        first = await at.submit("0")
        await at.until(first["id"], "RUNNING")
        for number in range(64):
            await at.submit(str(number + 1))
        full = await at.tcp.post("/api/v1/tasks", json={"prompt": "one too many"})
        assert error(full) == (429, "saturated")
    async with street(tmp_path, [Reply(text="ok")] * 65, journal) as again:
        page: dict[str, Any] = {}
        with anyio.fail_after(20):
            while page.get("counts") != {"SUCCEEDED": 65}:
                page = (await again.tcp.get("/api/v1/tasks?limit=500")).json()
                await anyio.sleep(0.01)
        assert {row["title"] for row in page["tasks"]} == {str(n) for n in range(65)}


@pytest.mark.parametrize("where", ["header", "body"])
async def test_the_same_key_again_is_the_same_task(tmp_path: Path, where: str):
    headers = {"Idempotency-Key": "k1"} if where == "header" else {}
    body = {"prompt": "once"} | ({"key": "k1"} if where == "body" else {})
    async with street(tmp_path, [HELLO]) as at:
        one = await at.tcp.post("/api/v1/tasks", json=body, headers=headers)
        two = await at.tcp.post("/api/v1/tasks", json=body, headers=headers)
        assert one.json()["id"] == two.json()["id"]
        other = await at.tcp.post("/api/v1/tasks", json={**body, "prompt": "more"}, headers=headers)
        assert error(other) == (409, "key_reused")
        assert len((await at.tcp.get("/api/v1/tasks")).json()["tasks"]) == 1


async def test_two_different_keys_for_one_request_are_refused(tmp_path: Path):
    async with street(tmp_path) as at:
        body, headers = {"prompt": "x", "key": "a"}, {"Idempotency-Key": "b"}
        answer = await at.tcp.post("/api/v1/tasks", json=body, headers=headers)
        assert error(answer) == (422, "two_keys")


async def test_limits_of_a_request_lie_over_the_configured_ones(tmp_path: Path):
    """Part of row OK-120."""
    plan = Plan(agent=Agent(limits=Limits(steps=7, tokens=500), model="scripted/script"))
    limits = {"tokens": 0, "cost_usd": 1.5, "attempts": 1}
    async with street(tmp_path, never, plan=plan) as at:
        row = await at.submit(limits=limits, allow=["pay"], checks=["true"], until="DONE")
        request = (await at.house.recorder.load(row["id"])).request
        got = request.agent.limits
        assert (got.steps, got.tokens, got.cost, got.attempts) == (7, None, 1_500_000, 1)
        assert (request.leave.allow, request.checks, request.until) == (
            ("pay",),
            ("true",),
            "DONE",
        )
        assert request.agent.model == "scripted/script"


async def test_tasks_are_listed_newest_first_in_pages(tmp_path: Path):
    """Row OC-67. Row GC-68. Row OK-121."""
    async with street(tmp_path, [HELLO] * 3) as at:
        rows = [await at.done(str(number), session=f"s{number % 2}") for number in range(3)]
        ids = [row["id"] for row in reversed(rows)]
        whole = (await at.tcp.get("/api/v1/tasks")).json()
        assert [row["id"] for row in whole["tasks"]] == ids
        assert (whole["next"], whole["counts"]) == (None, {"SUCCEEDED": 3})
        page = (await at.tcp.get("/api/v1/tasks?limit=2")).json()
        assert [row["id"] for row in page["tasks"]] == ids[:2]
        rest = (await at.tcp.get(f"/api/v1/tasks?limit=2&before={page['next']}")).json()
        assert [row["id"] for row in rest["tasks"]] == ids[2:]
        for query, found in [
            ("session=s1", 1),
            ("status=succeeded,failed", 3),
            ("status=FAILED&status=SUCCEEDED", 3),
            ("status=RUNNING", 0),
            ("asked=true", 0),
        ]:
            answer = await at.tcp.get(f"/api/v1/tasks?{query}")
            assert len(answer.json()["tasks"]) == found, query
        for query in ["status=ODD", "limit=501", "limit=x", "offset=3", "asked=maybe"]:
            assert error(await at.tcp.get(f"/api/v1/tasks?{query}")) == (422, "invalid"), query


async def test_children_are_found_by_the_end_of_their_parents_id(tmp_path: Path):
    async with street(tmp_path, [HELLO]) as at:
        row = await at.done()
        answer = await at.tcp.get(f"/api/v1/tasks?parent={row['short']}")
        assert answer.json()["tasks"] == []
        assert error(await at.tcp.get("/api/v1/tasks?parent=nothing")) == (404, "task_not_found")


async def test_events_are_read_by_cursor(tmp_path: Path):
    async with street(tmp_path, [HELLO]) as at:
        row = await at.done()
        path = f"/api/v1/tasks/{row['id']}/events"
        whole = (await at.tcp.get(path)).json()
        kinds = [event["kind"] for event in whole["events"]]
        assert kinds == ["Submitted", "Claimed", "Started", "Replied", "Finished"]
        assert whole["events"][0]["data"]["request"]["prompt"] == "do it"
        assert whole["last"] == len(kinds) == whole["events"][-1]["seq"]
        part = (await at.tcp.get(f"{path}?after=2&limit=2")).json()
        assert [event["seq"] for event in part["events"]] == [3, 4]
        assert part["last"] == 4
        nothing = (await at.tcp.get(f"{path}?after=99")).json()
        assert nothing == {"events": [], "last": 99}


async def test_a_question_is_answered_once_and_only_with_its_digest(tmp_path: Path):
    async with street(tmp_path, [PAYS, HELLO]) as at:
        row = await at.submit("pay Ann")
        waiting = await at.until(row["id"], "WAITING")
        (question,) = (await at.tcp.get("/api/v1/approvals")).json()["approvals"]
        assert (question["task"], question["title"]) == (row["id"], "pay Ann")
        assert question["digest"] == waiting["questions"][0]["digest"]
        assert len((await at.tcp.get("/api/v1/tasks?asked=true")).json()["tasks"]) == 1
        path = f"/api/v1/tasks/{row['short']}/calls/{question['call']}"
        wrong = await at.tcp.post(f"{path}/approve", json={"digest": "0" * 64})
        assert wrong.status_code == 409
        right = await at.tcp.post(f"{path}/approve", json={"digest": question["digest"]})
        assert right.status_code == 200
        again = await at.tcp.post(f"{path}/approve", json={"digest": question["digest"]})
        assert again.status_code == 409
        assert (await at.until(row["id"], "SUCCEEDED"))["answer"] == "hello"
        assert (await at.tcp.get("/api/v1/approvals")).json() == {"approvals": []}


async def test_a_refused_call_does_not_run(tmp_path: Path):
    async with street(tmp_path, [PAYS, HELLO]) as at:
        row = await at.submit("pay Ann")
        waiting = await at.until(row["id"], "WAITING")
        call = waiting["questions"][0]["call"]
        path = f"/api/v1/tasks/{row['id']}/calls/{call}/refuse"
        assert (await at.local.post(path, json={"reason": "too much"})).status_code == 200
        await at.until(row["id"], "SUCCEEDED")
        events = (await at.tcp.get(f"/api/v1/tasks/{row['id']}/events")).json()["events"]
        assert "CallStarted" not in {event["kind"] for event in events}
        (settled,) = [event for event in events if event["kind"] == "CallSettled"]
        assert "too much" in json.dumps(settled["data"]["outcome"])


async def test_a_running_task_hears_a_message_and_is_cancelled_twice_as_once(tmp_path: Path):
    """Row OK-122."""
    async with street(tmp_path, never) as at:
        row = await at.submit()
        path = f"/api/v1/tasks/{row['id']}"
        await at.until(row["id"], "RUNNING")
        assert (await at.tcp.post(f"{path}/say", json={"text": "faster"})).status_code == 200
        assert error(await at.tcp.post(f"{path}/say", json={"text": " "})) == (422, "empty_message")
        for _ in range(2):
            stopped = await at.tcp.post(f"{path}/cancel", json={"reason": "enough"})
            assert (stopped.status_code, stopped.json()["status"]) == (200, "CANCELED")
        assert (await at.tcp.post(f"{path}/say", json={"text": "go on"})).status_code == 409


async def test_a_cancelled_task_is_retried_as_a_new_one(tmp_path: Path):
    async with street(tmp_path, never) as at:
        row = await at.submit("again")
        await at.tcp.post(f"/api/v1/tasks/{row['id']}/cancel")
        more = (await at.tcp.post(f"/api/v1/tasks/{row['id']}/retry")).json()
        assert more["id"] != row["id"]
        assert more["title"] == "again"
        refused = await at.tcp.post(f"/api/v1/tasks/{more['id']}/retry", json={})
        assert error(refused) == (409, "not_ended")


async def test_a_bundle_holds_the_whole_task_and_is_the_same_every_time(tmp_path: Path):
    async with street(tmp_path, [HELLO]) as at:
        row = await at.done()
        path = f"/api/v1/tasks/{row['id']}/bundle"
        answer = await at.tcp.get(path)
        assert answer.headers["content-type"] == "application/zip"
        assert f"{row['id']}.zip" in answer.headers["content-disposition"]
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.read("output.md") == b"hello"
            assert {"input.json", "events.jsonl", "meta.json"} <= set(archive.namelist())
        assert (await at.tcp.get(path)).content == answer.content


async def test_a_task_is_verified_and_replayed(tmp_path: Path):
    async with street(tmp_path, [HELLO]) as at:
        row = await at.done()
        verified = (await at.tcp.get(f"/api/v1/tasks/{row['id']}/verify")).json()
        assert (verified["ok"], verified["problems"], verified["events"]) == (True, [], 5)
        replayed = (await at.tcp.get(f"/api/v1/tasks/{row['id']}/replay")).json()
        assert (replayed["same"], replayed["answer"]) == (True, "hello")


async def test_a_session_is_listed_and_read(tmp_path: Path):
    """Row GC-69."""
    async with street(tmp_path, [HELLO, HELLO]) as at:
        for prompt in ("one", "two"):
            await at.done(prompt, session="mail/7")
        (session,) = (await at.tcp.get("/api/v1/sessions")).json()["sessions"]
        assert (session["id"], session["tasks"]) == ("mail/7", 2)
        said = (await at.tcp.get("/api/v1/sessions/mail%2F7")).json()
        assert [one["prompt"] for one in said["exchanges"]] == ["one", "two"]
        assert [one["answer"] for one in said["exchanges"]] == ["hello", "hello"]
        missing = await at.tcp.get("/api/v1/sessions/odd")
        assert error(missing) == (404, "session_not_found")


async def test_the_status_tells_how_the_daemon_is(tmp_path: Path):
    """Row OK-123."""
    database = tmp_path / "journal.db"
    database.write_bytes(b"x" * 100)
    Path(f"{database}-wal").write_bytes(b"y" * 11)
    facts = Facts(lanes=7, model=lambda: "scripted/script", database=database)
    async with street(tmp_path, [HELLO], plan=Plan(facts=facts)) as at:
        await at.done()
        with anyio.fail_after(10):
            while at.house.supervisor.running:
                await anyio.sleep(0)
        status = (await at.local.get("/api/v1/status")).json()
        assert (status["lanes"], status["config"], status["policy"]) == (
            7,
            "cfg-test",
            "policy-test",
        )
        assert (status["counts"], status["running"]) == ({"SUCCEEDED": 1}, 0)
        assert (status["home"], status["version"]) == (str(tmp_path), "0.0-test")
        assert (status["database_bytes"], status["statements"]) == (111, None)
        assert (status["pid"], status["model"]) == (os.getpid(), "scripted/script")
        assert status["rss_bytes"] > 1_000_000
        assert 0 <= status["uptime_seconds"] < 60


async def test_the_health_of_the_models_is_told(tmp_path: Path):
    """Part of row OL-34."""
    one = ModelHealth(
        model="a/b",
        available=False,
        success_count=3,
        failure_count=2,
        consecutive_failures=1,
        cooldown_remaining=59.5,
        last_code="overloaded",
        last_error="trouble",
    )
    async with street(tmp_path, plan=Plan(facts=Facts(health=lambda: (one,)))) as at:
        (told,) = (await at.tcp.get("/api/v1/models/health")).json()["models"]
        assert told == msgspec.to_builtins(one)


async def test_a_backup_goes_to_a_new_file_only(tmp_path: Path):
    async with street(tmp_path, [HELLO]) as at:
        await at.done()
        to = tmp_path / "copy"
        answer = await at.tcp.post("/api/v1/backup", json={"to": str(to)})
        assert answer.json() == {"path": str(to), "bytes": to.stat().st_size}
        assert error(await at.tcp.post("/api/v1/backup", json={"to": str(to)})) == (409, "exists")
        assert error(await at.tcp.post("/api/v1/backup", json={"to": "copy"})) == (422, "bad_path")


async def test_what_is_purged_can_never_be_read_again(tmp_path: Path):
    async with street(tmp_path, [HELLO] * 3) as at:
        one = await at.done("secret one")
        for prompt in ("secret two", "secret three"):
            await at.done(prompt, session="s1")
        reason = {"reason": "asked to"}
        wrong = await at.tcp.post("/api/v1/purge", json=reason)
        assert error(wrong) == (422, "invalid")
        by_task = await at.tcp.post("/api/v1/purge", json={"task": one["short"], **reason})
        assert by_task.json() == {"purged": 1}
        by_session = await at.tcp.post("/api/v1/purge", json={"session": "s1", **reason})
        assert by_session.json() == {"purged": 2}
        for follow in ("", "?follow=true"):
            gone = await at.tcp.get(f"/api/v1/tasks/{one['id']}/events{follow}")
            assert error(gone) == (409, "purged")
        assert "secret" not in (await at.tcp.get("/api/v1/tasks")).text


async def test_only_the_socket_stops_the_daemon(tmp_path: Path):
    async with street(tmp_path) as at:
        assert error(await at.tcp.post("/api/v1/stop")) == (403, "socket_only")
        assert at.stops == []
        answer = await at.local.post("/api/v1/stop", json={})
        assert (answer.status_code, answer.json()) == (202, {"stopping": True})
        assert at.stops == ["stop"]


async def test_over_the_socket_the_peer_is_the_principal_and_names_the_workspace(tmp_path: Path):
    async with street(tmp_path, [HELLO]) as at:
        claims = {"X-User": "root", "Authorization": "Bearer wrong", "X-Forwarded-For": "1.2.3.4"}
        body = {"prompt": "x", "workspace": str(tmp_path / "workspace")}
        answer = await at.local.post("/api/v1/tasks", json=body, headers=claims)
        assert answer.json()["by"] == f"user:{pwd.getpwuid(os.getuid()).pw_name}"
        nowhere = await at.local.post("/api/v1/tasks", json={"prompt": "x"})
        assert error(nowhere) == (422, "no_workspace")


async def test_health_and_the_document_need_no_token_and_nothing_else_goes_without(tmp_path: Path):
    """Row OK-119."""
    async with street(tmp_path) as at:
        nobody = client(at.app)
        assert (await nobody.get("/healthz")).json() == {"ok": True, "version": "0.0-test"}
        assert (await nobody.get("/openapi.json")).json()["info"]["version"] == "0.0-test"
        for path in ("/api/v1/tasks", "/api/v1/status", "/api/v1/odd", "/"):
            assert error(await nobody.get(path)) == (401, "unauthenticated")


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"bearer  {TOKEN[:-1]}"],
)
async def test_a_wrong_token_is_nobody(tmp_path: Path, header: str):
    """Part of row OK-119."""
    async with street(tmp_path) as at:
        answer = await client(at.app).get("/api/v1/status", headers={"Authorization": header})
        assert error(answer) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1:7799", True),
        ("localhost", True),
        ("LOCALHOST.:1", True),
        ("[::1]:7799", True),
        ("127.9.9.9", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:7799", False),
        ("192.168.1.5", False),
        ("", False),
    ],
)
async def test_a_name_that_is_not_this_machines_is_refused(tmp_path: Path, host: str, good: bool):
    async with street(tmp_path) as at:
        answer = await at.tcp.get("/healthz", headers={"Host": host})
        assert answer.status_code == (200 if good else 403)
        assert good or error(answer) == (403, "wrong_host")


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        ("http://127.0.0.1:7799", True),
        ("http://127.0.0.1:3000", False),
        ("https://evil.example", False),
        ("null", False),
    ],
)
async def test_a_foreign_page_is_refused_even_with_the_token(
    tmp_path: Path, origin: str, good: bool
):
    async with street(tmp_path) as at:
        for door in (at.tcp, at.local):
            answer = await door.get("/api/v1/status", headers={"Origin": origin})
            assert answer.status_code == (200 if good else 403)
            assert good or error(answer) == (403, "foreign_origin")


async def test_a_body_that_is_too_large_is_not_read(tmp_path: Path):
    async with street(tmp_path) as at:
        reads: list[int] = []

        async def pieces() -> AsyncGenerator[bytes]:
            for number in range(100):
                reads.append(number)
                yield b"x" * 1_000_000

        declared = await at.tcp.post("/api/v1/tasks", content=b"x" * (MAX_BODY + 1))
        chunked = await at.tcp.post("/api/v1/tasks", content=pieces())
        assert error(declared) == error(chunked) == (413, "too_large")
        assert len(reads) <= 50, "some more is taken, so that the sender hears why"
        fits = await at.tcp.post("/api/v1/tasks", content=b" " * MAX_BODY)
        assert error(fits) == (422, "invalid")


async def test_an_unknown_path_or_method_says_so(tmp_path: Path):
    async with street(tmp_path) as at:
        assert error(await at.tcp.get("/api/v1/odd")) == (404, "no_such_path")
        assert error(await at.tcp.put("/api/v1/tasks", json={})) == (405, "method_not_allowed")
        assert error(await at.tcp.get("/api/v1/status?verbose=1")) == (422, "invalid")


async def test_a_bug_is_logged_and_answered_without_its_details(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def broken() -> str:
        raise RuntimeError("the details")

    async with street(tmp_path, plan=Plan(facts=Facts(model=broken))) as at:
        with caplog.at_level(logging.ERROR):
            answer = await at.tcp.get("/api/v1/status")
        assert error(answer) == (500, "internal")
        assert "the details" not in answer.text
        assert "the details" in caplog.text


async def test_a_check_that_the_house_denies_is_refused(tmp_path: Path):
    deny = Rules(
        layers=((Rule(say=Say.DENY, tool="exec", target="make *"),), PRESETS["open"]), version="x"
    )
    async with street(tmp_path, [HELLO]) as at:
        at.house.in_force.rules = deny
        refused = await at.local.post(
            "/api/v1/tasks",
            json={"prompt": "x", "workspace": str(tmp_path / "workspace"), "checks": ["make test"]},
        )
        assert error(refused) == (403, "check_denied")


async def test_a_workspace_may_not_hold_the_home_nor_lie_in_it(tmp_path: Path):
    async with street(tmp_path, [HELLO]) as at:
        for folder in (tmp_path, tmp_path.parent, tmp_path / "logs"):
            folder.mkdir(exist_ok=True)
            body = {"prompt": "x", "workspace": str(folder)}
            refused = await at.local.post("/api/v1/tasks", json=body)
            assert error(refused) == (422, "bad_workspace")


async def test_a_file_that_is_shown_to_the_model_is_kept_with_the_task(tmp_path: Path) -> None:
    shown: list[tuple[File, ...]] = []

    async def turn(prompt: Prompt, _hear: Callable[[Delta], None]) -> Reply:
        shown.extend(entry.files for entry in prompt.entries if isinstance(entry, PersonSaid))
        return Reply(text="a cat", usage=Usage(cost=0))

    picture = base64.b64encode(b"\x89PNG...").decode()
    file = {"name": "cat.png", "media_type": "image/png", "data": picture}
    async with street(tmp_path, turn) as at:
        row = await at.done("what is this?", files=[file])
        assert row["answer"] == "a cat"
        ((kept,),) = shown
        assert (kept.name, kept.media_type, kept.size) == ("cat.png", "image/png", 7)
        assert await at.house.blobs.get(kept.digest) == b"\x89PNG..."


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ({"name": "x.png", "media_type": "image/png", "data": ""}, 422),
        ({"name": "x.png", "media_type": "image/png", "data": "%%%"}, 422),
        ({"name": "x.png", "media_type": "picture", "data": "AAAA"}, 422),
        ({"name": "", "media_type": "image/png", "data": "AAAA"}, 422),
    ],
)
async def test_a_file_that_is_none_is_refused(
    tmp_path: Path, file: dict[str, str], code: int
) -> None:
    async with street(tmp_path) as at:
        answer = await at.tcp.post("/api/v1/tasks", json={"prompt": "look", "files": [file]})
        assert answer.status_code == code, answer.text


async def test_a_task_that_ran_out_of_money_is_tried_again_under_a_higher_limit(
    tmp_path: Path,
) -> None:
    says = [Reply(text="done", usage=Usage(input=10, cost=0))]
    async with street(tmp_path, says) as at:
        row = await at.done("do it", unattended=True, limits={"steps": 1, "seconds": 1})
        assert row["status"] == "SUCCEEDED"
        again = await at.tcp.post(f"/api/v1/tasks/{row['id']}/retry", json={"limits": {"steps": 7}})
        fresh = await at.house.recorder.load(TaskId(again.json()["id"]))
        assert (fresh.limits.steps, fresh.limits.seconds) == (7, 1)


SHAPE: dict[str, Any] = {
    "type": "object",
    "required": ["n"],
    "additionalProperties": False,
    "properties": {"n": {}},
}


async def test_a_wanted_shape_and_style_are_the_tasks_own(tmp_path: Path):
    """Part of row GC-42."""
    async with street(tmp_path, never) as at:
        shape: dict[str, Any] = {"schema": SHAPE, "retries": 1, "strict": False}
        style = {"thinking": "low", "temperature": 0.5}
        row = await at.submit(shape=shape, style=style)
        agent = (await at.house.recorder.load(row["id"])).request.agent
        assert agent.shape == Shape(schema=SHAPE, retries=1, strict=False)
        assert agent.style == Style(thinking="low", temperature=0.5)
        for wrong, said in [
            ({"schema": {"type": "odd"}}, "at #/type: 'odd' is not"),
            ({"schema": {"$ref": "https://example.com"}}, "at #/$ref"),
            ({"schema": {"enum": ["x" * 70_000]}}, "the limit is 65536"),
        ]:
            answer = await at.tcp.post("/api/v1/tasks", json={"prompt": "x", "shape": wrong})
            assert error(answer) == (422, "bad_schema")
            assert said in answer.json()["detail"]


async def test_an_answer_without_its_shape_is_sent_back_with_what_is_wrong(tmp_path: Path):
    """Row GC-42."""
    prompts: list[Prompt] = []

    async def turn(prompt: Prompt, _: object) -> Reply:
        prompts.append(prompt)
        text = "Well: {" if len(prompts) == 1 else '```json\n{"n": 1}\n```'
        return await shaped(Reply(text=text), prompt)

    async with street(tmp_path, turn) as at:
        row = await at.done(shape={"schema": SHAPE})
        assert (row["status"], row["answer"]) == ("SUCCEEDED", '{"n":1}')
        assert len(prompts) == 2
        assert "no JSON was found in the answer" in str(prompts[1].entries[-1])


@pytest.mark.parametrize("strict", [True, False])
async def test_an_answer_that_never_fits_fails_a_strict_task_only(tmp_path: Path, strict: bool):
    """Part of row GC-42."""

    async def turn(prompt: Prompt, _: object) -> Reply:
        return await shaped(Reply(text='{"m": 1}'), prompt)

    async with street(tmp_path, turn) as at:
        row = await at.done(shape={"schema": SHAPE, "strict": strict, "retries": 1})
        if strict:
            assert row["fault"]["code"] == "invalid_output"
            assert 'at $: "m" does not belong there' in row["fault"]["message"]
        else:
            assert (row["status"], row["answer"]) == ("SUCCEEDED", '{"m": 1}')


async def test_thinking_is_shown_to_people_when_it_is_to_be(tmp_path: Path):
    """Part of row OC-62."""
    thoughts = (Thought(text="First this. "), Thought(text="Then that."))
    good = Reply(text="done", thoughts=thoughts)
    bad = Reply(thoughts=(Thought(text="Hm."),))
    async with street(tmp_path, [good, *[bad] * 9]) as at:
        done, failed = await at.done(), await at.done()
        assert failed["status"] == "FAILED"

        async def shown(row: dict[str, Any], mode: str) -> str:
            path = f"/api/v1/tasks/{row['id']}"
            one = (await at.tcp.get(f"{path}?show_thinking={mode}")).json()
            events = await at.tcp.get(f"{path}/events?follow=true&show_thinking={mode}")
            told = events.text.rpartition("data: ")[2]
            assert json.loads(told) == one
            assert one.get("answer") == row.get("answer")
            return one.get("thinking", "")

        assert await shown(done, "always") == "First this.\n\nThen that."
        assert [await shown(done, mode) for mode in ("", "never", "on_error")] == [""] * 3
        assert (await shown(failed, "on_error")).startswith("Hm.")
        at.house.in_force.show_thinking = "always"
        at.house.in_force.max_thinking_chars = 5
        assert await shown(done, "") == "…that."
        assert error(await at.tcp.get(f"/api/v1/tasks/{done['id']}?show_thinking=odd"))[0] == 422


async def test_a_house_that_cannot_read_its_journal_is_not_well(tmp_path: Path):
    """Row GC-65."""

    class Torn(MemoryJournal):
        async def summary(self, task: TaskId) -> Summary | None:
            raise Unavailable("the disk is gone", code="store")

    async with street(tmp_path, journal=Torn()) as at:
        answer = await client(at.app).get("/healthz")
        assert error(answer) == (503, "store")
