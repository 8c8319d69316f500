"""Runs the daemon: recovers, listens, works until told to stop."""

from __future__ import annotations

import gc
import logging
import resource
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

import anyio

from holdfast.adapters.blobs.files import FileBlobs
from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.connections import SavedConnections
from holdfast.adapters.models.logins.aws_sso import aws_sessions
from holdfast.adapters.models.logins.login import keep_fresh
from holdfast.adapters.telemetry.logs import start_logging
from holdfast.adapters.tools.output import sweep
from holdfast.adapters.vaults.opening import Opened, open_vault
from holdfast.config import Config, load, to_budgets
from holdfast.config.read import stamp
from holdfast.config.secrets import check_box, to_passphrase, to_planted, to_unsayable
from holdfast.core.audit.fact import Fact
from holdfast.core.error import HoldfastError, Unavailable
from holdfast.doors.http.app import create_app
from holdfast.doors.http.route import Facts
from holdfast.doors.http.serve import serve
from holdfast.engine.clock import SystemClock
from holdfast.runtime import audit, budgets, leases, upkeep
from holdfast.runtime.house import House, InForce
from holdfast.runtime.secrets import keep_planted
from holdfast.runtime.webhooks import PostOffice

from .audit import on_record
from .containers import look_after
from .given import Given
from .home import DATABASE, HEALTH, SOCKET, VAULT, WEBHOOKS, only_one, prepare
from .house import in_force, open_house
from .listening import Tls, access, check_strength, reception
from .models import models_config
from .outside import Lent, gateway
from .settings import ConfigFile
from .webhooks import Files, Gatekept

_log = logging.getLogger("holdfast")
_log.addHandler(logging.NullHandler())  # what runs beside the daemon tells its errors itself
_HOUR = 3600.0
_LEAD = 86_400.0
_LOOK = 0.5
_LEARN = 2.0


async def run_daemon(
    config: Config,
    environment: Mapping[str, str],
    token: str,
    kept: Opened,
    offer: Callable[[], object] | None = None,
) -> None:
    """Recover, listen, work until told to stop, drain, close. `offer`: see `serve_command`."""
    told = models_config(config, environment, kept.house)
    files = FileBlobs(config.home / "blobs").get
    catalog = Catalog(told, remember=config.home / HEALTH, files=files)
    linked = SavedConnections(catalog, kept.house)
    given = Given(
        config=config, environment=environment, catalog=catalog, connections=linked, kept=kept
    )
    async with (
        open_house(given) as house,
        on_record(house, config),
        anyio.create_task_group() as group,
    ):
        await keep_planted(kept.secrets, to_planted(config, environment))
        done = anyio.Event()
        group.start_soon(_until_signal, done)
        await leases.resume(house)
        await group.start(house.supervisor.run)
        await budgets.resume(house.journal, house.recorder)  # the limits may be others now
        await _look_around(catalog, config)
        tls = Tls(config, house.clock.now)
        office = _office(house, config, kept)
        group.start_soon(office.run)
        facts = replace(
            _facts(config, catalog, tls), office=office, settings=_settings(given, catalog)
        )
        app = create_app(house, token=token, stop=done.set, facts=facts, access=access(config))
        app.state.mcp.offer = offer
        group.start_soon(partial(_tidy, house, config))
        for keep in (house.boxes.run, house.departures.run, house.tally.run):
            group.start_soon(keep)
        group.start_soon(house.pushes.run, house)
        group.start_soon(house.workspaces.keep)
        group.start_soon(look_after, house.boxes)
        group.start_soon(keep_fresh, catalog.lasting_logins, _HOUR, _LEAD)
        if config.models.logins.aws_sso:
            group.start_soon(aws_sessions(environment, time.time).keep)
        group.start_soon(partial(_follow, house, catalog, config, environment, kept))
        async with anyio.create_task_group() as listening:
            unix, host, port = config.home / SOCKET, config.server.host, _port(config)
            how = reception(config, tls)
            listen = partial(serve, app, unix=unix, host=host, port=port, how=how)
            addresses = await listening.start(listen)
            _log.info("ready on %s", ", ".join(addresses))
            await done.wait()
            _log.info("stopping")
            await house.supervisor.stop()
            listening.cancel_scope.cancel()
        group.cancel_scope.cancel()


def _port(config: Config) -> int | None:
    """The configured port; the default one only if nobody has it, so that two homes can run."""
    if not config.server.http:
        return None
    if "server.port" in config.sources:
        return config.server.port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.server.host, config.server.port))
        except OSError:
            _log.warning("port %s is taken: listening on a free one", config.server.port)
            return 0
    return config.server.port


def _office(house: House, config: Config, kept: Opened) -> PostOffice:
    carrier = Gatekept(gateway(Lent(kept.secrets, house.clock), house.visits, house.clock))
    return PostOffice(house, carrier, Files(config.home / WEBHOOKS))


def _facts(config: Config, catalog: Catalog, tls: Tls) -> Facts:
    return Facts(
        lanes=config.engine.lanes,
        queue_depth=config.engine.queue_depth,
        model=lambda: catalog.describe().line,
        health=catalog.health,
        database=config.home / DATABASE,
        certificate=tls.certificate,
    )


async def _until_signal(done: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for received in signals:
            _log.info("received %s", received.name)
            done.set()


async def _follow(
    house: House,
    catalog: Catalog,
    config: Config,
    environment: Mapping[str, str],
    kept: Opened,
) -> None:
    """Take over a changed configuration or policy within two seconds; a bad one changes nothing.

    Rules, limits, budgets, the agent and the models change for what begins from then on; the rest
    at the next start.
    """
    force, files = house.in_force, house.in_force.files
    seen = now = config.stamps
    while True:
        await anyio.sleep(_LOOK)
        before, now = now, tuple(map(stamp, files))
        if now == seen or now != before:  # nothing new, or somebody is still writing
            continue
        try:
            config = load(environment=environment)
            fresh = in_force(config)
            kept.secrets.learn(to_unsayable(config, environment))
            catalog.configure(models_config(config, environment, kept.house))
            await house.audit.append(_changed(house, fresh))
        except HoldfastError as error:
            if force.problem != str(error):
                await _refused(house, error)
                _log.error("configuration not taken: %s", error, extra={"code": error.code})
            force.problem = str(error)
            force.bell.ring()
            # What could not be written down only now is tried again.
            seen = seen if isinstance(error, Unavailable) else now
            continue
        seen = now
        force.rules, force.agent = fresh.rules, fresh.agent
        force.domains, force.answerers = fresh.domains, fresh.answerers
        force.ways, force.servers, force.a2a = fresh.ways, fresh.servers, fresh.a2a
        force.chat = fresh.chat
        force.config, force.problem = fresh.config, ""
        house.ledger.budgets(to_budgets(config), config.models.unknown_price)
        force.show_thinking = fresh.show_thinking
        force.max_thinking_chars = fresh.max_thinking_chars
        force.bell.ring()
        _log.info("configuration %s, %s", fresh.config, house.rules.version)
        try:
            await budgets.resume(house.journal, house.recorder)
        except Unavailable as failure:
            _log.warning("not every task that waits for money was told: %s", failure)
        await _look_around(catalog, config)


def _settings(given: Given, catalog: Catalog) -> ConfigFile:
    environment, vault = given.environment, given.kept.house

    def check(told: Config) -> None:
        catalog.check(models_config(told, environment, vault))

    return ConfigFile(given.config, environment, check)


def _changed(house: House, fresh: InForce) -> Fact:
    return Fact(
        kind="config.changed",
        at=house.clock.now(),
        subject="file",
        before=house.in_force.config,
        after=fresh.config,
        policy=house.trust.over(fresh).version,
    )


async def _refused(house: House, error: HoldfastError) -> None:
    """It changes nothing; so that it cannot be written down is no reason to stop."""
    told = Fact(kind="config.refused", at=house.clock.now(), subject="file", code=error.code)
    with suppress(Unavailable):
        await house.audit.append(told)


async def _look_around(catalog: Catalog, config: Config) -> None:
    """Ask for models and look for servers where some may be missed; say who cannot be asked."""
    with anyio.move_on_after(_LEARN):
        await catalog.learn()
    if config.models.detect_local and (not catalog.describe().found or catalog.doubts()):
        await catalog.detect()
    for name, why in catalog.doubts():
        _log.warning("the model %s cannot be asked: %s", name, why)


async def _tidy(house: House, config: Config) -> None:
    """At the start and once an hour: old outputs, old answers, old tasks, too many; and once a day
    the files that only these spoke of."""
    days, tasks, size = (
        config.storage.keep_outputs_days,
        config.storage.keep_days,
        config.storage.max_mb << 20,
    )
    hours = 0
    while True:
        try:
            await audit.forget(house, config.audit.keep_days)
            if days:
                for folder in (house.home / "outputs", house.home / "apart"):
                    await anyio.to_thread.run_sync(sweep, folder, days * upkeep.DAY)
            await upkeep.forget(house, tasks)
            if size:
                await upkeep.shrink(house, size)
            if hours % 24 == 1:  # every event is read for it: not while others want to begin
                count, gone = await upkeep.collect(house)
                _log.info("%s files that nobody speaks of are deleted: %s bytes", count, gone)
        except (OSError, HoldfastError) as failure:  # what is damaged stays, and is said
            _log.warning("not tidied: %s", failure)
        await anyio.sleep(_HOUR)
        hours += 1


def serve_command(
    config: Config,
    environment: Mapping[str, str],
    *,
    foreground: bool,
    offer: Callable[[], object] | None = None,
) -> int:
    """Run the daemon until it is stopped. `offer` is served over MCP instead of its own tools."""
    token = prepare(config.home)
    check_strength(config, token)
    kept = _vault(config, environment, token)
    start_logging(
        config.home / "logs",
        level=config.log.level,
        as_json=config.log.as_json,
        also_stderr=foreground,
        redact=kept.secrets.redact,
    )
    for warning in config.warnings:
        _log.warning("%s", warning)
    # Events are many small, short-lived, acyclic values: the default of 700 collects for nothing
    # (benchmarks: a tenth of the CPU of a whole task).
    gc.set_threshold(10_000, 10, 10)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # boxes and their ways out need many
    with only_one(config.home):
        options = {"use_uvloop": True}
        anyio.run(run_daemon, config, environment, token, kept, offer, backend_options=options)
    return 0


def _vault(config: Config, environment: Mapping[str, str], token: str) -> Opened:
    """The vault, opened, before anything could say one of its secrets."""
    others = [*to_unsayable(config, environment), ("token", token)]
    passphrase, now = to_passphrase(config), SystemClock().now
    kept = open_vault(config.home / VAULT, passphrase=passphrase, now=now, others=others)
    check_box(config, kept.secrets.redactor.holds)
    return kept
