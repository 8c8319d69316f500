"""A whole house of fakes with its engine running, and the door in front of it."""

import dataclasses
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
from msgspec import Struct
from msgspec import field as kept
from starlette.types import Receive, Scope, Send

from holdfast.adapters.audit.signing import FileSigner
from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.mentions import FolderMentions
from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.choosing import SavedChoices
from holdfast.adapters.models.connections import SavedConnections
from holdfast.adapters.models.direct import WithDirect
from holdfast.adapters.models.scripted import OneModel, ScriptedModel
from holdfast.adapters.models.settings import ModelsConfig
from holdfast.adapters.responses.files import FileResponses
from holdfast.adapters.stores.audit_memory import MemoryAudit
from holdfast.adapters.stores.ledger import StoredLedger
from holdfast.adapters.stores.ledger_memory import MemoryPages
from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.adapters.tools.lent import lending
from holdfast.adapters.tools.slack.workspaces import Means as SlackMeans
from holdfast.adapters.tools.slack.workspaces import Workspaces
from holdfast.adapters.tools.undo.undoing import FolderUndo
from holdfast.adapters.uploads.files import FileUploads
from holdfast.adapters.vaults.files import FileVault
from holdfast.adapters.vaults.keeper import Keeper
from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.core.agent import Agent
from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.error import HoldfastError, Invalid, NotFound
from holdfast.core.gate.policy import Rules
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId
from holdfast.core.message import (
    Change,
    EffectClass,
    Outcome,
    Reply,
    Returned,
    ToolCall,
)
from holdfast.core.reach import Allowed, Reach
from holdfast.doors.http.a2a.pushing import told
from holdfast.doors.http.access import Access
from holdfast.doors.http.app import create_app
from holdfast.doors.http.auth import PEER
from holdfast.doors.http.route import Facts
from holdfast.engine.clock import SystemClock
from holdfast.engine.finish import Finisher
from holdfast.engine.live import Live
from holdfast.engine.perform import Limits, Performer
from holdfast.engine.record import Recorder
from holdfast.engine.supervise import Intake, Supervisor
from holdfast.engine.timekeep import Timekeeper
from holdfast.ports.egress import Visits
from holdfast.ports.embedder import Embedder
from holdfast.ports.ledger import Ledger
from holdfast.ports.model import Delta, ModelFailure, Models, ToolSpec
from holdfast.ports.tools import Job, Tool, Traits
from holdfast.runtime.departures import Departures
from holdfast.runtime.direct import DIRECT
from holdfast.runtime.elsewhere import Peer, PeerCard
from holdfast.runtime.hooks import (
    Answered,
    Carrier,
    Mail,
    Parcel,
    Shelves,
    Webhook,
    Webhooks,
)
from holdfast.runtime.house import House, InForce
from holdfast.runtime.pushes import Pushes
from holdfast.runtime.shelf import Memory
from holdfast.runtime.spending import Spending
from holdfast.runtime.tally import Tally
from holdfast.runtime.webhooks import PostOffice
from holdfast.testing.fake_box import FakeBoxes
from holdfast.testing.fake_egress import FakeEgress
from holdfast.testing.fake_embedder import FakeEmbedder
from holdfast.testing.fake_mentions import JournalMentions
from holdfast.testing.fake_servers import FakeServers
from holdfast.testing.fake_visits import FakeVisits

TOKEN = "a-token-for-tests"
RULES = Rules(layers=((), PRESETS["ask"]), version="policy-test")
FACTS = Facts(lanes=16, model=lambda: "scripted/script")
Turn = Callable[[Prompt, Callable[[Delta], None]], Awaitable[Reply]]


class TurnModel:
    """A model whose turns a test writes as a function."""

    name = "scripted/script"
    window = 0

    def __init__(self, turn: Turn, most: Reservation) -> None:
        self._turn, self._most = turn, most

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        return self._most

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        return await self._turn(prompt, hear)


class Pay:
    """A tool that may not be repeated, and therefore asks."""

    spec = ToolSpec(name="pay", description="pay", schema={"type": "object"})
    traits = Traits(effect=EffectClass.WRITES, target="to")

    def problem(self, arguments: Mapping[str, Any]) -> str:
        return ""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome:
        return Returned(text=f"paid {arguments['to']}")

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        return None


class NoPeers:
    """There are none, and none is kept."""

    def all(self) -> Sequence[Peer]:
        return ()

    async def look(self, name: str) -> PeerCard:
        raise NotFound(f"there is no agent {name}", code="peer_not_found")

    async def add(self, told: Mapping[str, Any]) -> Peer:
        raise Invalid("no agent is kept here", code="bad_peer")

    async def remove(self, name: str) -> None:
        raise NotFound(f"there is no agent {name}", code="peer_not_found")


class OnePay:
    """The only tool there is."""

    def get(self, name: str) -> Tool | None:
        return Pay() if name == "pay" else None

    def all(self) -> Sequence[Tool]:
        return (Pay(),)


PAYS = Reply(calls=(ToolCall(id=CallId("x"), tool="pay", arguments={"to": "Ann"}),))


def in_memory() -> Ledger:
    return StoredLedger(MemoryPages(), SystemClock().now)


def _takes(_: Parcel) -> int:
    return 204


class FakeCarrier:
    """Takes every parcel, or does what `says` says of it: a status, or an error to raise."""

    def __init__(self, says: Callable[[Parcel], int | HoldfastError] | None = None) -> None:
        self.parcels: list[Parcel] = []
        self.says = says or _takes

    async def carry(self, hook: Webhook, parcel: Parcel) -> Answered:
        said = self.says(parcel)
        self.parcels.append(parcel)
        if isinstance(said, HoldfastError):
            raise said
        return Answered(status=said)


class FakeShelves:
    """Keeps webhooks and their mail in memory."""

    def __init__(self) -> None:
        self.webhooks = Memory(Webhooks())
        self.mails: dict[str, Memory[Mail]] = {}

    def mail(self, name: str, read: int) -> Memory[Mail]:
        return self.mails.setdefault(name, Memory(Mail(read=read)))

    def forget(self, name: str) -> None:
        self.mails.pop(name, None)


class Plan(Struct, frozen=True, kw_only=True):
    """How the house of one test is built."""

    most: Reservation = Reservation()
    ledger: Ledger = kept(default_factory=in_memory)
    embedder: Embedder = kept(default_factory=FakeEmbedder)
    visits: Visits = kept(default_factory=FakeVisits)
    boxes: FakeBoxes = kept(default_factory=FakeBoxes)
    intake: Intake = Intake(drain=0.0)
    agent: Agent = Agent()
    clock: SystemClock = kept(default_factory=SystemClock)
    facts: Facts = FACTS
    keep_alive: float = 15.0
    access: Access = Access()
    carrier: Carrier = kept(default_factory=FakeCarrier)
    shelves: Shelves = kept(default_factory=FakeShelves)
    egress: FakeEgress = kept(default_factory=FakeEgress)
    patience: tuple[float, ...] = (0.001, 0.001)

    def reach(self, task: str, agent: str) -> Reach:
        return Reach(task=task, agent=agent, tool="push", allowed=(Allowed(host="hook.example"),))


@dataclass(kw_only=True)
class Street:
    """What a test sees: the house, its app, and clients at both doors."""

    house: House
    app: Any
    tcp: httpx2.AsyncClient
    local: httpx2.AsyncClient
    stops: list[str] = field(default_factory=list[str])

    async def keyed(self, *scopes: str, name: str = "ci", **more: Any) -> httpx2.AsyncClient:
        """A client with a key of its own."""
        body = {"name": name, "scopes": scopes, **more}
        answer = await self.local.post("/api/v1/keys", json=body)
        assert answer.status_code == 201, answer.text
        return client(self.app, headers={"Authorization": f"Bearer {answer.json()['key']}"})

    async def submit(self, prompt: str = "do it", **more: Any) -> dict[str, Any]:
        answer = await self.tcp.post("/api/v1/tasks", json={"prompt": prompt, **more})
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def until(self, task: str, *statuses: str) -> dict[str, Any]:
        """The summary once the task has one of these statuses."""
        with anyio.fail_after(30):
            while (row := (await self.tcp.get(f"/api/v1/tasks/{task}")).json())[
                "status"
            ] not in statuses:
                await anyio.sleep(0.001)
        return row

    async def done(self, prompt: str = "do it", **more: Any) -> dict[str, Any]:
        row = await self.submit(prompt, **more)
        return await self.until(row["id"], "SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER")


SIGNER = FileSigner(b"s" * 32)


def signed_audit(journal: MemoryJournal) -> MemoryAudit:
    journal.audit().signer = SIGNER
    return journal.audit()


def build(home: Path, models: Models, journal: MemoryJournal, plan: Plan) -> House:
    clock, live, tools = plan.clock, Live(), OnePay()
    secrets = Keeper(MemoryVault(), clock.now)
    secrets.witness = journal.audit().append
    recorder = Recorder(journal, clock, live, lambda: RULES, secrets.clean)
    pay = (plan.ledger, clock)
    performer = Performer(recorder, live, models, lending(tools), Limits(), pay, secrets=secrets)
    keeper = Timekeeper(journal, recorder, Finisher(recorder, {}, clock), clock)
    supervisor = Supervisor(journal, recorder, performer, keeper, clock, plan.intake)
    vault = MemoryVault()
    settings = ModelsConfig(vault=vault, probe=False)
    catalog = models if isinstance(models, Catalog) else Catalog(settings)
    (home / "workspace").mkdir(exist_ok=True)
    force = InForce(rules=RULES, agent=plan.agent, config="cfg-test")
    blobs = MemoryBlobs()
    return House(
        home=home,
        journal=journal,
        audit=signed_audit(journal),
        signer=SIGNER,
        recorder=recorder,
        supervisor=supervisor,
        live=live,
        models=models,
        connections=SavedConnections(catalog, vault),
        choosing=SavedChoices(catalog, home / "models.json"),
        embedder=plan.embedder,
        ledger=plan.ledger,
        visits=plan.visits,
        leases=journal.leases(),
        secrets=secrets,
        vault=FileVault(home / "vault"),
        tools=tools,
        servers=FakeServers(force.bell.ring),
        peers=NoPeers(),
        workspaces=Workspaces(
            SlackMeans(
                vault=vault,
                egress=plan.egress,
                clock=clock,
                reach=lambda: Reach(task="look_slack", agent="default"),
                api="https://slack.example/api",
            )
        ),
        boxes=plan.boxes,
        tally=Tally(recorder, tools, journal.audit(), Spending(plan.ledger, clock.now())),
        departures=Departures(recorder, plan.boxes.release),
        pushes=Pushes(vault, plan.egress, plan.reach, told, patience=plan.patience),
        blobs=blobs,
        mentions=(JournalMentions(journal), FolderMentions(home / "undo")),
        undoing=FolderUndo(home / "undo", blobs),
        responses=FileResponses(home / "responses"),
        uploads=FileUploads(home / "uploads"),
        clock=clock,
        in_force=force,
        channels=(),
        started_at=clock.now(),
        version="0.0-test",
    )


@asynccontextmanager
async def street(
    home: Path,
    says: Sequence[Reply | ModelFailure] | Turn = (),
    journal: MemoryJournal | None = None,
    plan: Plan | None = None,
    models: Models | None = None,
) -> AsyncGenerator[Street]:
    """The house at work; `says` is what the model says, or a function that is its turn."""
    plan = plan or Plan()
    model = TurnModel(says, plan.most) if callable(says) else ScriptedModel(says)
    all_models = WithDirect(models or OneModel(model), DIRECT)
    house = build(home, all_models, journal or MemoryJournal(), plan)
    stops: list[str] = []
    office = PostOffice(house, plan.carrier, plan.shelves)
    app = create_app(
        house,
        token=TOKEN,
        stop=lambda: stops.append("stop"),
        facts=dataclasses.replace(plan.facts, office=office),
        keep_alive=plan.keep_alive,
        access=plan.access,
    )

    async def as_peer(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {PEER: os.getuid()}}, receive, send)

    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with anyio.create_task_group() as group:
        await group.start(house.supervisor.run)
        assert isinstance(house.pushes, Pushes)
        group.start_soon(house.pushes.run, house)
        group.start_soon(office.run)
        async with (
            client(app, headers=bearer) as tcp,
            client(as_peer) as local,
        ):
            yield Street(house=house, app=app, tcp=tcp, local=local, stops=stops)
        group.cancel_scope.cancel()


def client(app: Any, **more: Any) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:7799", **more)
