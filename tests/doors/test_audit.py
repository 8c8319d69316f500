"""The audit through the doors: who decided what, who may be held to it, and that it is whole."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from holdfast.adapters.audit.mirror import Mirror
from holdfast.adapters.audit.signing import signed
from holdfast.core.message import Reply
from holdfast.doors.http.slow import Slowly
from holdfast.runtime.proof import Finding, prove
from holdfast.testing.tamper import split
from tests.doors.cli_stage import Stage, staged
from tests.doors.house import PAYS, Street, street

CANARY = "canary-in-the-prompt"
DONE = Reply(text="done")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


async def records(here: Street, **asked: Any) -> list[dict[str, Any]]:
    page = (await here.tcp.get("/api/v1/audit", params=asked)).json()
    return page["records"][::-1]


@pytest.mark.anyio
async def test_who_approved_what_is_in_it_with_the_hash_of_exactly_that(tmp_path: Path):
    """Part of row GC-89g: a decision has its rule, its policy version, its task."""
    async with street(tmp_path, (PAYS, DONE)) as here:
        task = (await here.submit(CANARY))["id"]
        row = await here.until(task, "WAITING")
        call, digest = row["questions"][0]["call"], row["questions"][0]["digest"]
        url = f"/api/v1/tasks/{task}/calls/{call}/approve"
        assert (await here.tcp.post(url, json={"digest": digest})).status_code == 200
        await here.until(task, "SUCCEEDED")
        facts = [one["fact"] for one in await records(here, task=task)]
        assert [fact["kind"] for fact in facts] == [
            "task.submitted",
            "task.started",
            "call.judged",
            "call.approved",
            "task.started",
            "call.settled",
            "task.ended",
        ]
        judged, approved = facts[2], facts[3]
        assert (judged["verdict"], judged["policy"]) == ("ask", "policy-test")
        assert judged["tool"] == "pay"
        assert approved["digest"] == judged["digest"] != digest, (
            "what people answer is bound to more"
        )
        assert approved["by"]
        exported = (await here.tcp.get("/api/v1/audit/export")).content
        assert CANARY.encode() not in exported
        assert b"Ann" not in exported


@pytest.mark.anyio
async def test_a_denial_is_one_line_in_the_database_and_one_in_the_mirror(tmp_path: Path):
    """Row GC-89g: the same fields in both, with rule, policy version and task."""
    mirror = tmp_path / "audit.jsonl"
    async with street(tmp_path, (PAYS, DONE)) as here:
        row = await here.done("pay", deny=["pay"])
        (denied,) = await records(here, kind="call.judged", task=row["id"])
        await Mirror(mirror, here.house.audit).catch_up()
    lines = [msgspec.json.decode(one) for one in mirror.read_bytes().splitlines()]
    (line,) = [one for one in lines if one["body"].get("verdict") == "deny"]
    assert line["body"] == denied["fact"]
    assert (line["seq"], line["hash"]) == (denied["seq"], denied["hash"])
    said = line["body"]
    assert (said["task"], said["tool"], said["rule"]) == (row["id"], "pay", "--deny pay")
    assert (said["policy"], said["agent"]) == ("policy-test", "default")
    assert said["at"] > 0


@pytest.mark.anyio
async def test_what_a_task_did_stands_in_its_order(tmp_path: Path):
    """Row OC-94, part of row OK-51: every allowed act with its rule. What the model said is in
    the task's own stream."""
    async with street(tmp_path, (PAYS, DONE)) as here:
        row = await here.done("pay", allow=["pay"])
        found = await records(here, task=row["id"])
        kinds = [one["fact"]["kind"] for one in found]
        begin, middle, end = ["task.submitted", "task.started"], kinds[2:-1], ["task.ended"]
        assert kinds == [*begin, *middle, *end]
        assert middle == ["call.judged", "call.settled"]
        assert [one["fact"]["event"] for one in found] == sorted(
            one["fact"]["event"] for one in found
        )
        assert found[2]["fact"]["rule"] == "--allow pay"
        events = (await here.tcp.get(f"/api/v1/tasks/{row['id']}/events")).json()["events"]
        assert [one["kind"] for one in events].count("Replied") == 2


@pytest.mark.anyio
async def test_a_refusal_says_who_and_a_denial_says_which_rule(tmp_path: Path):
    """Part of row OC-94: what was denied is in it, with its rule, in the task's order."""
    async with street(tmp_path, (PAYS, DONE)) as here:
        row = await here.done("pay", deny=["pay"])
        assert row["status"] == "SUCCEEDED"
        (denied,) = await records(here, rule="--deny pay", kind="call.judged")
        assert (denied["fact"]["verdict"], denied["fact"]["task"]) == ("deny", row["id"])
        (refused,) = await records(here, kind="call.refused")
        assert refused["fact"]["rule"] == "--deny pay"
        numbers = [one["seq"] for one in await records(here, task=row["id"])]
        assert numbers == sorted(numbers)


@pytest.mark.anyio
async def test_secrets_and_models_are_changed_by_somebody_and_values_are_nowhere(tmp_path: Path):
    async with street(tmp_path) as here:
        value = "s3cr3t-of-some-length"
        for path, body in (
            ("/api/v1/secrets", {"name": "github", "value": value, "note": "mine"}),
            ("/api/v1/secrets/grant", {"name": "github", "agent": "ann"}),
            ("/api/v1/secrets/delete", {"name": "github"}),
        ):
            assert (await here.tcp.post(path, json=body)).status_code == 200
        facts = [one["fact"] for one in await records(here, secret="github")]
        assert [fact["subject"] for fact in facts] == ["put", "terms", "terms", "delete"]
        assert all(fact["by"] for fact in facts)
        assert value.encode() not in (await here.tcp.get("/api/v1/audit/export")).content


@pytest.mark.anyio
async def test_a_use_is_written_down_before_the_value_is_given_and_a_denied_one_too(
    tmp_path: Path,
):
    async with street(tmp_path) as here:
        await here.tcp.post(
            "/api/v1/secrets", json={"name": "k", "value": "v" * 20, "grants": ["a"]}
        )
        assert await here.house.secrets.use("k", agent="a", task="t", tool="http") == "v" * 20
        with pytest.raises(Exception, match="no secret"):
            await here.house.secrets.use("k", agent="b", task="t", tool="http")
        used, denied = [one["fact"] for one in await records(here, secret="k", kind="secret")]
        assert (used["kind"], used["agent"], used["tool"]) == ("secret.used", "a", "http")
        assert (denied["kind"], denied["code"]) == ("secret.denied", "secret_not_granted")


@pytest.mark.anyio
async def test_an_export_is_proved_and_a_checkpoint_is_in_it(tmp_path: Path):
    async with street(tmp_path, (DONE,)) as here:
        await here.done()
        made = (await here.tcp.post("/api/v1/audit/checkpoint")).json()
        answer = await here.tcp.get("/api/v1/audit/export")
        assert answer.headers["content-type"] == "application/jsonl"
        proof = prove(iter(split(answer.content)), signed)[0]
        assert (proof.ok, proof.size) == (True, made["checkpoint"]["size"])
        assert proof.keys == (made["fingerprint"],)
        assert (await here.tcp.get("/api/v1/audit/verify")).json()["ok"] is True


@pytest.mark.anyio
async def test_a_purged_task_leaves_no_hole(tmp_path: Path):
    """Part of row GC-25."""
    async with street(tmp_path, (DONE,)) as here:
        row = await here.done(CANARY)
        before = (await here.tcp.get("/api/v1/audit")).json()["size"]
        said = {"task": row["id"], "reason": "asked"}
        assert (await here.tcp.post("/api/v1/purge", json=said)).status_code == 200
        *gone, purged = await records(here, task=row["id"])
        assert [one["fact"] for one in gone] == [None] * before
        assert purged["fact"]["kind"] == "task.purged"
        assert (await here.tcp.get("/api/v1/audit/verify")).json()["gone"] == before


@pytest.mark.anyio
async def test_pages_and_single_records_and_what_there_is_not(tmp_path: Path):
    async with street(tmp_path, (DONE,)) as here:
        await here.done()
        page = (await here.tcp.get("/api/v1/audit", params={"limit": 2})).json()
        rest = (await here.tcp.get("/api/v1/audit", params={"before": page["next"]})).json()
        assert len(page["records"]) + len(rest["records"]) == page["size"]
        first = (await here.tcp.get("/api/v1/audit/records/1")).json()
        assert first == rest["records"][-1]
        assert (await here.tcp.get("/api/v1/audit/records/999")).status_code == 404
        assert (await here.tcp.get("/api/v1/audit/records/x")).status_code == 404
        assert (await here.tcp.get("/api/v1/audit", params={"kind": "cal"})).status_code == 422
        assert (
            await here.tcp.get("/api/v1/audit", params={"since": "whenever"})
        ).status_code == 422


@pytest.mark.anyio
async def test_an_answer_that_takes_long_keeps_the_line_open():
    sent: list[MutableMapping[str, Any]] = []

    async def work() -> Finding:
        while len(sent) < 4:
            await anyio.lowlevel.checkpoint()
        return Finding(what="changed", record=1, line=2, says="so")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    with anyio.fail_after(20):
        await Slowly(work, beat=0.0)({}, receive, send)
    body = b"".join(message["body"] for message in sent[1:])
    assert body.startswith(b"   {")
    assert msgspec.json.decode(body)["record"] == 1
    assert [message["more_body"] for message in sent[-2:]] == [True, False]


def test_the_commands_show_what_the_daemon_says(stage: Stage, tmp_path: Path):
    fact = {"kind": "call.judged", "at": 1, "task": "task_0123456789", "tool": "pay"}
    record = {
        "seq": 7,
        "leaf": "aa",
        "hash": "bb",
        "fact": {**fact, "verdict": "deny", "rule": "r"},
    }
    gone = {"seq": 6, "leaf": "cc", "hash": "dd", "fact": None}
    canned = stage.daemon.canned
    canned["/api/v1/audit"] = {"records": [record, gone], "size": 9, "next": 6}
    told = stage.run("audit", "--kind", "call", "--agent", "ann", "-n", "2")
    _, first, second = told.out.splitlines()
    assert first.split()[0] == "7"
    assert first.endswith("deny: r")
    assert "(only its hash)" in second
    assert "--before 6" in told.err
    assert "kind=call&agent=ann&limit=2" in stage.daemon.requests[-1][1]
    canned["/api/v1/audit/records/7"] = record
    assert "verdict  deny" in stage.run("audit", "show", "7").out
    assert stage.run("audit", "show", "seven").code == 2
    proof = {"ok": True, "size": 9, "gone": 1, "checkpoints": 2, "signed": 8, "keys": ["SHA256:x"]}
    canned["/api/v1/audit/verify"] = proof
    assert stage.run("audit", "verify").out.splitlines() == [
        "whole: 9 records, 2 checkpoints",
        "of 1 records only the hashes are kept",
        "no checkpoint covers what comes after record 8",
        "signed by SHA256:x",
    ]
    finding = {"what": "removed", "record": 3, "line": 4, "says": "record 3 is gone"}
    canned["/api/v1/audit/verify"] = {**proof, "ok": False, "finding": finding}
    told = stage.run("audit", "verify")
    assert (told.code, told.out) == (1, "NOT whole: removed (line 4): record 3 is gone\n")
