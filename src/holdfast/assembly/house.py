"""Every part of a house, connected."""

from __future__ import annotations

import secrets as tokens
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio

from holdfast.adapters.audit.signing import FileSigner, open_signer
from holdfast.adapters.blobs.files import FileBlobs
from holdfast.adapters.channels.outbox import Outbox
from holdfast.adapters.kept import Kept
from holdfast.adapters.mentions import FolderMentions
from holdfast.adapters.models.choosing import SavedChoices
from holdfast.adapters.models.direct import WithDirect
from holdfast.adapters.models.guarded import GuardedEmbedder, GuardedModels
from holdfast.adapters.models.loading import load as load_part
from holdfast.adapters.responses.files import FileResponses
from holdfast.adapters.stores.beside import Beside
from holdfast.adapters.stores.ledger import StoredLedger, open_ledger
from holdfast.adapters.stores.sqlite import SqliteJournal, open_sqlite
from holdfast.adapters.stores.trail import Trail
from holdfast.adapters.tools.a2a.peers import OfPeers, SavedPeers
from holdfast.adapters.tools.browser.browsers import Browsers
from holdfast.adapters.tools.browser.tools import browser_tools
from holdfast.adapters.tools.builtin import builtin_tools
from holdfast.adapters.tools.execute import BoxOptions
from holdfast.adapters.tools.lent import lending
from holdfast.adapters.tools.mcp.login.shelf import PLACE as LOGINS
from holdfast.adapters.tools.mcp.servers import Offered, Servers
from holdfast.adapters.tools.output import Fitted, Spool
from holdfast.adapters.tools.planning import WithPlan
from holdfast.adapters.tools.registry import Registry, Together
from holdfast.adapters.tools.secrets import secret_tools
from holdfast.adapters.tools.slack.kit import OfSlack
from holdfast.adapters.tools.steering import Steering
from holdfast.adapters.tools.undo.undoing import FolderUndo
from holdfast.adapters.uploads.files import FileUploads
from holdfast.config import (
    Config,
    to_a2a,
    to_agent,
    to_answerers,
    to_budgets,
    to_chat,
    to_domains,
    to_rules,
    to_servers,
    to_ways,
)
from holdfast.config.read import POLICY
from holdfast.core.ids import TaskId
from holdfast.core.patterns import Disguise
from holdfast.core.task import Request, Task
from holdfast.doors.cli.version import VERSION
from holdfast.engine.clock import SystemClock
from holdfast.engine.finish import Finisher
from holdfast.engine.live import Live
from holdfast.engine.perform import Limits, Performer
from holdfast.engine.record import Recorder
from holdfast.engine.supervise import Intake, Supervisor
from holdfast.engine.timekeep import Timekeeper
from holdfast.ports.blobs import Blobs, Mentions
from holdfast.ports.box import Boxes
from holdfast.ports.channel import Channel
from holdfast.ports.clock import Clock
from holdfast.ports.secrets import Secrets
from holdfast.ports.tools import Tool, Tools
from holdfast.runtime import budgets
from holdfast.runtime.chatting import Chats
from holdfast.runtime.delegate import Delegate
from holdfast.runtime.departures import Departures
from holdfast.runtime.direct import DIRECT
from holdfast.runtime.house import House, InForce
from holdfast.runtime.keyring import Keyring, Keys
from holdfast.runtime.spending import Spending
from holdfast.runtime.tally import Tally
from holdfast.runtime.top_up import TopUp
from holdfast.runtime.trusting import Granted, Trust
from holdfast.runtime.warrants import (
    WarrantedBoxes,
    WarrantedEgress,
    WarrantedSecrets,
    Warrants,
)

from .acp import agents_to_ask
from .apart import Asked, kept_apart
from .boxes import box_options, box_pool
from .chats import TalkFiles
from .given import Given
from .home import AUDIT_KEY, BACKED_UP, CHATS, CHOICES, DATABASE, KEYS, MENTIONING, TRUST
from .mcp import servers_for, world_of_servers
from .outside import Lent, Outside, browsers_for, gateway, pushes_for, tools_of_the_web
from .peers import peers_for
from .slack import slack_for

_Stores = tuple[SqliteJournal, StoredLedger, Clock, FileSigner]


@asynccontextmanager
async def open_house(given: Given) -> AsyncGenerator[House, None]:
    """Every part, connected. Nothing runs yet: the caller starts `house.supervisor.run`."""
    config, clock = given.config, SystemClock()
    signer = open_signer(config.home / AUDIT_KEY)
    trail = Trail(signer, config.audit.checkpoint_every)
    async with (
        open_sqlite(config.home / DATABASE, now=clock.now(), trail=trail) as journal,
        open_ledger(journal.pages(), clock.now) as ledger,
        AsyncExitStack() as stack,
    ):
        journal.beside = Beside(config.home, BACKED_UP)
        ledger.budgets(to_budgets(config), config.models.unknown_price)
        given.kept.secrets.witness = journal.audit().append
        house = await _furnished(given, (journal, ledger, clock, signer), stack)
        house = replace(house, chats=Chats(TalkFiles(config.home / CHATS)))
        try:
            yield house
        finally:
            with anyio.CancelScope(shield=True):
                await house.boxes.close()
                await house.models.close()


async def _furnished(given: Given, stores: _Stores, stack: AsyncExitStack) -> House:
    config, home, safe = given.config, given.config.home, given.kept.secrets
    (journal, ledger, clock, signer), trust = stores, _trust(home)
    models, live, force, channels = _guarded(given), Live(), in_force(config), _channels(home)
    recorder = Recorder(journal, clock, live, lambda: trust.over(force), safe.clean)
    visits, blobs, lent = journal.visits(), FileBlobs(home / "blobs"), Lent(safe, clock)
    warrants = Warrants(lambda task: recorder.stream(task).task)
    out = Outside(WarrantedEgress(gateway(lent, visits, clock), warrants), lambda: force.ways, safe)
    boxes = WarrantedBoxes(pool := box_pool(config, given.environment, out.of_box), warrants)
    browsers = await stack.enter_async_context(browsers_for(config, boxes, out))
    shown, spool = (box_options(config), Steering()), Spool(home / "outputs", safe.redact)
    work, undoing = (blobs, spool, clock, live), FolderUndo(home / "undo", blobs)
    world = world_of_servers(given, boxes, out, (*shown, clock, live), (force, models, ledger))
    own = [*_at_hand(given, boxes, work, shown, (out, browsers))]
    own += _within(stores, safe, recorder, lambda task, what: supervisor.submit(task, what))  # noqa: PLW0108 - bound late
    own += agents_to_ask(config, world, spool, live)
    peers = peers_for(config, out, recorder, (blobs, spool), own)
    slack = slack_for(given, (out, lent, visits), (spool, clock))
    servers = await stack.enter_async_context(servers_for(given, force, world, work, (own, slack)))
    asked, lent.bearers[LOGINS] = (recorder, models, ledger, clock), servers.bearer
    tools = kept_apart(_every(undoing, own, slack, servers, peers), (given, force, warrants), asked)
    supervisor = _at_work(config, (journal, asked), tools, (safe, warrants), (live, channels))
    return House(
        home=home,
        journal=journal,
        audit=journal.audit(),
        signer=signer,
        recorder=recorder,
        supervisor=supervisor,
        live=live,
        models=models,
        embedder=GuardedEmbedder(given.catalog.embedder, safe.known),
        connections=given.connections,
        choosing=SavedChoices(given.catalog, home / CHOICES),
        ledger=ledger,
        visits=visits,
        leases=journal.leases(),
        secrets=safe,
        vault=given.kept.sealing,
        tools=tools,
        servers=servers,
        peers=peers,
        workspaces=slack.workspaces,
        boxes=pool,
        departures=Departures(recorder, browsers.release, servers.release, boxes.release),
        tally=Tally(recorder, tools, journal.audit(), Spending(ledger, clock.now())),
        pushes=pushes_for(given.kept.house, gateway(Lent(safe, clock), visits, clock), out),
        blobs=blobs,
        mentions=_mentions(journal, home),
        undoing=undoing,
        responses=FileResponses(home / "responses"),
        uploads=FileUploads(home / "uploads"),
        clock=clock,
        in_force=force,
        channels=tuple(channels),
        started_at=clock.now(),
        version=VERSION,
        keys=Keyring(Kept(home / KEYS, Keys())),
        trust=trust,
    )


def _at_work(
    config: Config,
    records: tuple[SqliteJournal, Asked],
    tools: Tools,
    held: tuple[Secrets, Warrants],
    told: tuple[Live, dict[str, Channel]],
) -> Supervisor:
    """Who moves the tasks."""
    (journal, (recorder, models, ledger, clock)), (live, channels) = records, told
    limits, pay = Limits(tool_seconds=config.engine.tool_seconds), (ledger, clock)
    secrets = WarrantedSecrets(*held)
    performer = Performer(recorder, live, models, lending(tools), limits, pay, secrets=secrets)
    timekeeper = Timekeeper(journal, recorder, Finisher(recorder, channels, clock), clock)
    return Supervisor(journal, recorder, performer, timekeeper, clock, _intake(config))


def _trust(home: Path) -> Trust:
    return Trust(Kept(home / TRUST, Granted()))


def _channels(home: Path) -> dict[str, Channel]:
    return {"outbox": Outbox(home / "outbox")}


def _mentions(journal: SqliteJournal, home: Path) -> tuple[Mentions, ...]:
    return journal.mentions(), FolderMentions(*(home / name for name in MENTIONING))


def _every(
    undoing: FolderUndo, own: Sequence[Tool], slack: OfSlack, servers: Servers, peers: SavedPeers
) -> Registry:
    """Our own tools, those while somebody is logged in, and those of strangers."""
    return Registry(
        undoing.watched(own), WithPlan(Together(slack, Offered(servers), OfPeers(peers)))
    )


def _guarded(given: Given) -> GuardedModels:
    """The models, and nothing secret on its way to them."""
    hides = given.config.vault.redact_patterns
    disguise = Disguise(tokens.token_bytes(32)) if hides else None
    return GuardedModels(WithDirect(given.catalog, DIRECT), given.kept.secrets.known, disguise)


def _at_hand(
    given: Given,
    boxes: Boxes,
    work: tuple[Blobs, Spool, Clock, Live],
    shown: tuple[BoxOptions, Steering],
    far: tuple[Outside, Browsers],
) -> Sequence[Tool]:
    """The tools that need nothing but a folder, a box and a clock; and those of the web."""
    (blobs, spool, clock, _), (options, steering), (out, browsers) = work, shown, far
    web = tools_of_the_web(given.config, out, given.environment)
    built_in = builtin_tools(
        boxes=boxes, blobs=blobs, clock=clock, spool=spool, options=options, steering=steering
    )
    return [
        *built_in.all(),
        *(Fitted(tool, spool) for tool in (*web, *browser_tools(browsers, blobs))),
    ]


def _within(
    stores: _Stores,
    safe: Secrets,
    recorder: Recorder,
    submit: Callable[[TaskId, Request], Awaitable[Task]],
) -> Sequence[Tool]:
    """The tools with which an agent asks the house itself: for secrets, money, helpers."""
    journal, ledger, _, _ = stores
    more = TopUp(ledger, partial(budgets.resume, journal, recorder))
    return [*secret_tools(safe), more, Delegate(recorder, journal, submit)]


def _intake(config: Config) -> Intake:
    engine = config.engine
    return Intake(lanes=engine.lanes, depth=engine.queue_depth, drain=engine.drain_seconds)


def in_force(config: Config) -> InForce:
    agent = to_agent(config)
    if agent.shape is not None:
        load_part("shapes").check(agent.shape.schema)
    return InForce(
        rules=to_rules(config),
        domains=to_domains(config),
        answerers=to_answerers(config),
        agent=agent,
        ways=to_ways(config),
        servers=to_servers(config),
        a2a=to_a2a(config),
        chat=to_chat(config),
        config=config.fingerprint(),
        files=(config.path, config.home / POLICY),
        show_thinking=config.agent.show_thinking,
        max_thinking_chars=config.agent.max_thinking_chars,
    )
