"""Webhooks: what happens is told, signed, tried again, set aside, and never silently lost."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from holdfast.core.agent import Agent
from holdfast.core.budget import Limits
from holdfast.core.error import HoldfastError, NotAllowed, Unavailable
from holdfast.core.message import Reply, Usage
from holdfast.ports.ledger import Budget
from holdfast.runtime.hooks import PAUSES, Delivery, Mail, Parcel
from tests.doors.house import FakeCarrier, FakeShelves, Plan, Street, street

pytestmark = pytest.mark.anyio

URL = "https://hooks.example.com/x"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not true():
            await anyio.sleep(0.001)


async def add(at: Street, name: str = "ci", **more: Any) -> str:
    answer = await at.local.post("/api/v1/webhooks", json={"name": name, "url": URL, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["secret"]


def told(carrier: FakeCarrier) -> list[dict[str, Any]]:
    return [json.loads(parcel.body) for parcel in carrier.parcels]


async def test_who_asked_for_it_is_told_what_becomes_of_a_task(tmp_path: Path):
    """Row OK-124."""
    carrier = FakeCarrier()
    plan = Plan(carrier=carrier)
    says = [Reply(text="hello", usage=Usage(input=10, output=5, cost=20_000))]
    async with street(tmp_path, says, plan=plan) as at:
        await add(at)
        await add(at, "all", events=["*"])
        row = await at.done("say hello")
        await until(lambda: len(carrier.parcels) == 4)
        complete = [one for one in told(carrier) if one["event"] == "task.complete"]
        assert len(complete) == 2
        data = complete[0]["data"]
        assert (data["task_id"], data["description"]) == (row["id"], "say hello")
        assert (data["cost_usd"], data["total_tokens"], data["iterations"]) == (0.02, 15, 1)
        assert "hello" not in json.dumps({**data, "description": ""}), "words are asked for"
        events = {one["event"] for one in told(carrier)}
        assert events == {"task.submitted", "task.started", "task.complete"}
        shelves = plan.shelves
        await until(lambda: shelves.mail("all", 0).read().sent == 3)
        await until(lambda: shelves.mail("ci", 0).read().sent == 1)
        listed = (await at.local.get("/api/v1/webhooks")).json()
        assert [(one["name"], one["sent"]) for one in listed["webhooks"]] == [("all", 3), ("ci", 1)]
        assert "task.failed" in listed["events"]


async def test_a_message_is_signed_as_standard_webhooks_has_it(tmp_path: Path):
    carrier = FakeCarrier()
    async with street(tmp_path, plan=Plan(carrier=carrier)) as at:
        secret = await add(at)
        assert (await at.local.post("/api/v1/webhooks/ci/test")).json()["status"] == 204
        (parcel,) = carrier.parcels
        ident = parcel.headers["webhook-id"]
        said = f"{ident}.{parcel.headers['webhook-timestamp']}.".encode() + parcel.body
        key = base64.b64decode(secret.removeprefix("whsec_"))
        right = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
        assert parcel.headers["webhook-signature"] == f"v1,{right}"
        assert json.loads(parcel.body)["id"] == ident
        for path in ("/api/v1/webhooks", "/api/v1/secrets", "/api/v1/audit"):
            assert secret not in (await at.local.get(path)).text


async def test_what_is_not_taken_is_tried_again_with_the_same_id(tmp_path: Path):
    answers: list[int | HoldfastError] = [Unavailable("no answer"), 503, 200]
    carrier = FakeCarrier(lambda _: answers.pop(0))
    shelves = FakeShelves()
    async with street(
        tmp_path, [Reply(text="hello")], plan=Plan(carrier=carrier, shelves=shelves)
    ) as at:
        await add(at, events=["task.complete"])
        await at.done()
        for tries in (1, 2):
            await until(lambda: len(carrier.parcels) == tries)  # noqa: B023
            await until(lambda: shelves.mails["ci"].read().due[0].tries == tries)  # noqa: B023
            (one,) = (await at.local.get("/api/v1/webhooks/ci/messages")).json()["waiting"]
            assert one["next_at"] - at.house.clock.now() <= PAUSES[tries - 1]
            hurry(at, shelves)
        await until(lambda: not shelves.mails["ci"].read().due)
        assert len({parcel.headers["webhook-id"] for parcel in carrier.parcels}) == 1
        assert len({parcel.body for parcel in carrier.parcels}) == 1


def hurry(at: Street, shelves: FakeShelves) -> None:
    """As if it were later."""
    office = at.app.state.door.facts.office
    postman = office.postman("ci")
    due = tuple(now_due(one) for one in postman.mail.due)
    postman.mail = Mail(read=postman.mail.read, due=due, dead=postman.mail.dead)
    postman.ring()


def now_due(one: Delivery) -> Delivery:
    from msgspec.structs import replace

    return replace(one, next_at=0)


async def test_what_nobody_takes_is_set_aside_and_tried_again_when_somebody_says_so(
    tmp_path: Path,
):
    working = False
    carrier = FakeCarrier(lambda _: 200 if working else 500)
    shelves = FakeShelves()
    plan = Plan(carrier=carrier, shelves=shelves)
    async with street(tmp_path, [Reply(text="hello")], plan=plan) as at:
        await add(at, events=["task.complete"])
        await at.done()
        with anyio.fail_after(5):
            while not shelves.mails["ci"].read().dead:
                hurry(at, shelves)
                await anyio.sleep(0.001)
        assert len(carrier.parcels) == len(PAUSES) + 1
        (row,) = (await at.local.get("/api/v1/webhooks")).json()["webhooks"]
        assert (row["dead"], row["waiting"], row["problem"]) == (1, 0, "it answered 500")
        working = True
        assert (await at.local.post("/api/v1/webhooks/ci/retry")).json()["again"] == 1
        await until(lambda: shelves.mails["ci"].read().sent == 1)
        assert not shelves.mails["ci"].read().dead


@pytest.mark.parametrize("says", [410, NotAllowed("no", code="egress_private")])
async def test_a_place_that_is_gone_or_forbidden_is_not_tried_again(tmp_path: Path, says: Any):
    carrier, shelves = FakeCarrier(lambda _: says), FakeShelves()
    plan = Plan(carrier=carrier, shelves=shelves)
    async with street(tmp_path, [Reply(text="hello")], plan=plan) as at:
        await add(at)
        await at.done()
        await until(lambda: len(shelves.mails["ci"].read().dead) == 1)
        assert len(carrier.parcels) == 1


async def test_one_that_hangs_holds_up_nobody_else(tmp_path: Path):
    class Hanging(FakeCarrier):
        async def carry(self, hook: Any, parcel: Parcel) -> Any:
            if hook.name == "slow":
                await anyio.sleep_forever()
            return await super().carry(hook, parcel)

    carrier = Hanging()
    async with street(tmp_path, [Reply(text="hello")], plan=Plan(carrier=carrier)) as at:
        await add(at, "slow")
        await add(at, "quick")
        await at.done()
        await until(lambda: len(carrier.parcels) == 1)
        gone = await at.local.post("/api/v1/webhooks/slow/remove")
        assert gone.json() == {"webhook": "slow"}
        left = (await at.local.get("/api/v1/webhooks")).json()["webhooks"]
        assert [one["name"] for one in left] == ["quick"]


async def test_a_budget_that_is_nearly_used_up_is_told_once(tmp_path: Path):
    """Part of row OK-124."""
    carrier, plan_agent = FakeCarrier(), Agent(limits=Limits(cost=100_000))
    plan = Plan(carrier=carrier, agent=plan_agent)
    reply = Reply(text="hello", usage=Usage(input=10, output=5, cost=85_000))
    async with street(tmp_path, [reply] * 2, plan=plan) as at:
        at.house.ledger.budgets([Budget(scope="installation", per="month", cost=100_000_000)])
        await add(at, events=["budget.warning"])
        row = await at.done()
        await until(lambda: bool(carrier.parcels))
        data = told(carrier)[0]["data"]
        assert data == {
            "budget": f"task/{row['id']}",
            "current_cost": 0.085,
            "budget_limit": 0.1,
            "percentage_used": 85.0,
        }
        other = await at.done()
        await until(lambda: len(carrier.parcels) == 2)
        assert told(carrier)[1]["data"]["budget"] == f"task/{other['id']}", "each once"


async def test_what_happened_while_nobody_carried_is_told_by_the_next(tmp_path: Path):
    """The mail is on the shelf, and so is how far the audit was read."""
    from holdfast.adapters.stores.memory import MemoryJournal

    shelves, journal, carrier = FakeShelves(), MemoryJournal(), FakeCarrier()
    down = FakeCarrier(lambda _: Unavailable("no answer"))
    plan = Plan(carrier=down, shelves=shelves)
    async with street(tmp_path, [Reply(text="hello")], journal, plan) as at:
        await add(at)
        await at.done()
        await until(lambda: bool(down.parcels))
    mail = shelves.mails["ci"].read()
    shelves.mails["ci"].write(Mail(read=mail.read, due=tuple(map(now_due, mail.due))))
    again = Plan(carrier=carrier, shelves=shelves)
    async with street(tmp_path, [], journal, again) as at:
        secret = "whsec_" + base64.b64encode(b"x" * 32).decode()
        body = {"name": "webhook/ci", "value": secret, "grants": ["webhook"]}
        await at.local.post("/api/v1/secrets", json=body)
        with anyio.fail_after(5):
            while not carrier.parcels:
                hurry(at, shelves)
                await anyio.sleep(0.001)
    assert down.parcels[0].headers["webhook-id"] == carrier.parcels[0].headers["webhook-id"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "ci", "url": "http://example.com/"}, "bad_url"),
        ({"name": "ci", "url": "ftp://example.com/"}, "bad_url"),
        ({"name": "ci", "url": "https://user:pass@example.com/"}, "bad_url"),
        ({"name": "ci", "url": "https://"}, "bad_url"),
        ({"name": "ci", "url": "https://example.com:99999/"}, "bad_url"),
        ({"name": "ci", "url": "https://example.com/a b"}, "bad_url"),
        ({"name": "../x", "url": URL}, "bad_name"),
        ({"name": "CI", "url": URL}, "bad_name"),
        ({"name": "ci", "url": URL, "events": ["task.done"]}, "bad_event"),
        ({"name": "ci", "url": URL, "events": []}, "bad_event"),
        ({"name": "ci", "url": URL, "secret": "x"}, "invalid"),
    ],
)
async def test_a_webhook_that_makes_no_sense_is_not_added(
    tmp_path: Path, body: dict[str, Any], code: str
):
    async with street(tmp_path) as at:
        assert error(await at.local.post("/api/v1/webhooks", json=body)) == (422, code)
        assert (await at.local.get("/api/v1/webhooks")).json()["webhooks"] == []


async def test_names_are_one_webhooks_each(tmp_path: Path):
    async with street(tmp_path) as at:
        await add(at)
        again = await at.local.post("/api/v1/webhooks", json={"name": "ci", "url": URL})
        assert error(again) == (409, "webhook_exists")
        for act in ("test", "retry", "remove"):
            answer = await at.local.post(f"/api/v1/webhooks/nobody/{act}")
            assert error(answer) == (404, "webhook_not_found")
        assert (await at.local.get("/api/v1/webhooks/nobody/messages")).status_code == 404
