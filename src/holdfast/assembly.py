"""Builds every part from the configuration and runs the daemon: the one file that knows all."""

from __future__ import annotations

import argparse
import fcntl
import gc
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import anyio

from holdfast.adapters import private
from holdfast.adapters.blobs.files import FileBlobs
from holdfast.adapters.boxes import orphans
from holdfast.adapters.boxes.bubblewrap import BubblewrapBox
from holdfast.adapters.channels.outbox import Outbox
from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.choosing import SavedChoices
from holdfast.adapters.models.connections import SavedConnections
from holdfast.adapters.models.failover import Patience
from holdfast.adapters.models.guarded import GuardedEmbedder, GuardedModels
from holdfast.adapters.models.known import kind_of
from holdfast.adapters.models.loading import load as load_part
from holdfast.adapters.models.logins.aws_sso import aws_sessions
from holdfast.adapters.models.logins.login import keep_fresh
from holdfast.adapters.models.logins.vendors import Addresses
from holdfast.adapters.models.offline import OFFLINE
from holdfast.adapters.models.settings import ModelsConfig, Price, Provider, Role, Timeouts
from holdfast.adapters.stores import upkeep as store_upkeep
from holdfast.adapters.stores.ledger import open_ledger
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.adapters.telemetry.logs import start_logging
from holdfast.adapters.tools.builtin import builtin_tools
from holdfast.adapters.tools.execute import BoxOptions
from holdfast.adapters.tools.output import sweep
from holdfast.adapters.tools.registry import Registry
from holdfast.adapters.tools.secrets import secret_tools
from holdfast.adapters.vaults.files import FileVault
from holdfast.adapters.vaults.keychain import Keychain
from holdfast.adapters.vaults.opening import Opened, open_vault
from holdfast.config import Config, home_folder, load, to_agent, to_box_limits, to_budgets, to_rules
from holdfast.config.secrets import check_box, to_passphrase, to_planted, to_unsayable
from holdfast.core.error import Broken, HoldfastError, Refused, Unavailable
from holdfast.core.patterns import Disguise
from holdfast.doors.cli.version import VERSION
from holdfast.doors.http.app import create_app
from holdfast.doors.http.route import Facts
from holdfast.doors.http.serve import serve
from holdfast.engine.clock import SystemClock
from holdfast.engine.finish import Finisher
from holdfast.engine.live import Live
from holdfast.engine.perform import Limits, Performer
from holdfast.engine.record import Recorder
from holdfast.engine.supervise import Intake, Supervisor
from holdfast.engine.timekeep import Timekeeper
from holdfast.ports.vault import Vault
from holdfast.runtime import budgets, doctor, upkeep
from holdfast.runtime.delegate import Delegate
from holdfast.runtime.house import House, InForce
from holdfast.runtime.secrets import keep_planted
from holdfast.runtime.top_up import TopUp

_log = logging.getLogger("holdfast")
_log.addHandler(logging.NullHandler())  # what runs beside the daemon tells its errors itself
DATABASE = "holdfast.db"
LISTS = Path("cache") / "models"
CHOICES = "models.json"
SOCKET = Path("run") / "holdfast.sock"
VAULT = "vault"
HEALTH = Path("run") / "model-health.json"
_HOUR = 3600.0
_LEAD = 86_400.0
_KEYCHAIN = Keychain()
_LOOK = 1.0
_LEARN = 2.0


def prepare(home: Path) -> str:
    """Make the home complete, private and ours; returns the token for HTTP, made if missing."""
    try:
        for folder in (home, *(home / name for name in _FOLDERS)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        return _token(home / "token")
    except OSError as error:
        hint = "choose another with HOLDFAST_HOME, or mend its permissions"
        code = "home_unusable"
        raise Unavailable(
            f"{home} cannot be used: {error.strerror}", code=code, hint=hint
        ) from error


_FOLDERS = ("run", "logs", "cache", "blobs", "outputs", "outbox", "backups", "workspace")


def _token(path: Path) -> str:
    if not path.exists():
        _make_token(path)
    path.chmod(0o600)
    if token := path.read_text(encoding="ascii", errors="replace").strip():
        return token
    raise Broken(f"{path} is empty", code="token_empty", hint="delete it to get a new one")


def _make_token(path: Path) -> None:
    """Complete and on the disk before it has its name: a power cut must not leave an empty one."""
    fresh = path.with_name(f"token.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):  # someone else was faster: theirs counts
        path.hardlink_to(fresh)
    fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def only_one(home: Path) -> Generator[None]:
    """Hold the home's lock. Raises `Refused` when another daemon has it."""
    with open(home / "run" / "daemon.lock", "a+", opener=private.opener) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "unknown"
            message = f"a daemon is already running on {home} (process {who})"
            raise Refused(message, code="already_running", hint="holdfast serve stop") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@asynccontextmanager
async def open_house(
    config: Config, catalog: Catalog, connections: SavedConnections, kept: Opened
) -> AsyncGenerator[House, None]:
    """Every part, connected. Nothing runs yet: the caller starts `house.supervisor.run`."""
    home, clock, live = config.home, SystemClock(), Live()
    safe = kept.secrets
    disguise = Disguise(secrets.token_bytes(32)) if config.vault.redact_patterns else None
    models = GuardedModels(catalog, safe.known, disguise)
    in_force = _in_force(config)
    async with (
        open_sqlite(home / DATABASE, now=clock.now()) as journal,
        open_ledger(journal.pages(), clock.now) as ledger,
    ):
        ledger.budgets(to_budgets(config), config.models.unknown_price)
        recorder = Recorder(journal, clock, live, lambda: in_force.rules, safe.clean)
        box, blobs = BubblewrapBox(limits=to_box_limits(config)), FileBlobs(home / "blobs")
        # The delegate tool is bound late: it submits to the supervisor that runs it.
        delegate = Delegate(recorder, journal, lambda task, what: supervisor.submit(task, what))  # noqa: PLW0108
        options, spool = _box_options(config), home / "outputs"
        ours = builtin_tools(box=box, blobs=blobs, clock=clock, spool=spool, options=options)
        top_up = TopUp(ledger, partial(budgets.resume, journal, recorder))
        tools = Registry([*ours.all(), *secret_tools(safe), delegate, top_up])
        limits = Limits(tool_seconds=config.engine.tool_seconds)
        pay = (ledger, clock)
        performer = Performer(recorder, live, models, tools, limits, pay, secrets=safe)
        channels = {"outbox": Outbox(home / "outbox")}
        timekeeper = Timekeeper(journal, recorder, Finisher(recorder, channels, clock), clock)
        intake = Intake(
            lanes=config.engine.lanes,
            depth=config.engine.queue_depth,
            drain=config.engine.drain_seconds,
        )
        supervisor = Supervisor(journal, recorder, performer, timekeeper, clock, intake)
        try:
            yield House(
                home=home,
                journal=journal,
                recorder=recorder,
                supervisor=supervisor,
                live=live,
                models=models,
                embedder=GuardedEmbedder(catalog.embedder, safe.known),
                connections=connections,
                choosing=SavedChoices(catalog, home / CHOICES),
                ledger=ledger,
                secrets=safe,
                vault=kept.sealing,
                tools=tools,
                box=box,
                blobs=blobs,
                clock=clock,
                in_force=in_force,
                channels=tuple(channels),
                started_at=clock.now(),
                version=VERSION,
            )
        finally:
            with anyio.CancelScope(shield=True):
                await models.close()


def _box_options(config: Config) -> BoxOptions:
    return BoxOptions(
        read_only=tuple(Path(path) for path in config.box.read_only),
        environment=config.box.environment,
        hidden=(config.home,),
        limits=to_box_limits(config),
    )


async def run_daemon(
    config: Config, environment: Mapping[str, str], token: str, kept: Opened
) -> None:
    """Recover, listen, work until told to stop, drain, close."""
    told = models_config(config, environment, kept.house)
    files = FileBlobs(config.home / "blobs").get
    catalog = Catalog(told, remember=config.home / HEALTH, files=files)
    linked = SavedConnections(catalog, kept.house)
    await keep_planted(kept.secrets, to_planted(config, environment))
    async with (
        open_house(config, catalog, linked, kept) as house,
        anyio.create_task_group() as group,
    ):
        done = anyio.Event()
        group.start_soon(_until_signal, done)
        await group.start(house.supervisor.run)
        await budgets.resume(house.journal, house.recorder)  # the limits may be others now
        await _look_around(catalog, config)
        app = create_app(house, token=token, stop=done.set, facts=_facts(config, catalog))
        group.start_soon(partial(_tidy, house, config))
        group.start_soon(keep_fresh, catalog.lasting_logins, _HOUR, _LEAD)
        if config.models.logins.aws_sso:
            group.start_soon(aws_sessions(environment, time.time).keep)
        group.start_soon(partial(_follow, house, catalog, config, environment, kept))
        async with anyio.create_task_group() as listening:
            unix, host, port = config.home / SOCKET, config.server.host, _port(config)
            listen = partial(serve, app, unix=unix, host=host, port=port)
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


def _facts(config: Config, catalog: Catalog) -> Facts:
    return Facts(
        lanes=config.engine.lanes,
        model=lambda: catalog.describe().line,
        health=catalog.health,
        database=config.home / DATABASE,
    )


def models_config(config: Config, environment: Mapping[str, str], vault: Vault) -> ModelsConfig:
    """What the catalogue is told; keys are looked up in `environment` here and nowhere else."""
    models = config.models
    timeouts = Timeouts(
        connect=models.connect_seconds,
        first=models.first_token_seconds,
        idle=models.idle_seconds,
        total=models.total_seconds,
    )
    return ModelsConfig(
        env=environment,
        providers=_providers(config, timeouts),
        vault=vault,
        keychain=_KEYCHAIN if models.logins.keychain else None,
        borrowed=frozenset(
            name
            for name in ("claude", "codex", "qwen-code")
            if getattr(models.logins, name.replace("-", "_"))
        ),
        addresses={
            name: Addresses(**client.model_dump()) for name, client in models.logins.clients.items()
        },
        locks=config.home / "run",
        default=models.default,
        prices={name: Price(**dict(one)) for name, one in models.price.items()},
        probe=models.detect_local,
        per_provider=config.engine.provider_calls,
        timeouts=timeouts,
        roles={
            name: Role(model=one.model, fallback=one.fallback) for name, one in models.roles.items()
        },
        fallback=models.fallback,
        windows=models.window,
        lists=config.home / LISTS,
        patience=Patience(
            retries=models.retries,
            failures_to_open=models.failures_to_open,
            cooldown=models.cooldown_seconds,
        ),
    )


def _providers(config: Config, timeouts: Timeouts) -> dict[str, Provider]:
    """What is configured of each provider; where it says no deadline, the common one counts."""
    return {
        name: Provider(
            kind=kind_of(name, one.kind, one.base_url),
            base_url=one.base_url,
            api_key=one.api_key.get_secret_value(),
            key_env=one.api_key_env,
            models=one.models,
            free=one.free,
            timeouts=Timeouts(
                connect=one.connect_seconds or timeouts.connect,
                first=one.first_token_seconds or timeouts.first,
                idle=one.idle_seconds or timeouts.idle,
                total=one.total_seconds or timeouts.total,
            ),
            tools=one.tools,
            max_output=one.max_output,
            window=one.window,
            headers=one.headers,
            api_version=one.api_version,
            region=one.region,
        )
        for name, one in config.models.providers.items()
    }


async def _until_signal(done: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for received in signals:
            _log.info("received %s", received.name)
            done.set()


def _in_force(config: Config) -> InForce:
    agent = to_agent(config)
    if agent.shape is not None:
        load_part("shapes").check(agent.shape.schema)
    return InForce(
        rules=to_rules(config),
        agent=agent,
        config=config.fingerprint(),
        show_thinking=config.agent.show_thinking,
        max_thinking_chars=config.agent.max_thinking_chars,
    )


async def _follow(
    house: House,
    catalog: Catalog,
    config: Config,
    environment: Mapping[str, str],
    kept: Opened,
) -> None:
    """Take over a changed configuration within two seconds; a bad one changes nothing.

    Rules, limits, budgets, the agent and the models change for what begins from then on; the rest
    at the next start.
    """
    in_force, seen = house.in_force, _stamp(config.path)
    while True:
        await anyio.sleep(_LOOK)
        if (now := _stamp(config.path)) == seen:
            continue
        seen = now
        try:
            config = load(environment=environment)
            fresh = _in_force(config)
            kept.secrets.learn(to_unsayable(config, environment))
            catalog.configure(models_config(config, environment, kept.house))
        except HoldfastError as error:
            in_force.problem = str(error)
            _log.error("configuration not taken: %s", error, extra={"code": error.code})
            continue
        in_force.rules, in_force.agent = fresh.rules, fresh.agent
        in_force.config, in_force.problem = fresh.config, ""
        house.ledger.budgets(to_budgets(config), config.models.unknown_price)
        in_force.show_thinking = fresh.show_thinking
        in_force.max_thinking_chars = fresh.max_thinking_chars
        _log.info("configuration %s, %s", fresh.config, fresh.rules.version)
        try:
            await budgets.resume(house.journal, house.recorder)
        except Unavailable as failure:
            _log.warning("not every task that waits for money was told: %s", failure)
        await _look_around(catalog, config)


async def _look_around(catalog: Catalog, config: Config) -> None:
    """Ask for models and look for servers where some may be missed; say who cannot be asked."""
    with anyio.move_on_after(_LEARN):
        await catalog.learn()
    if config.models.detect_local and (not catalog.describe().found or catalog.doubts()):
        await catalog.detect()
    for name, why in catalog.doubts():
        _log.warning("the model %s cannot be asked: %s", name, why)


def _stamp(path: Path) -> tuple[int, int, int]:
    """Changes when the file does. One `stat` a second is cheaper than a watching thread."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


async def _tidy(house: House, config: Config) -> None:
    """At the start and once an hour, if anything is to go: old outputs, old tasks, too many."""
    days, tasks, size = (
        config.storage.keep_outputs_days,
        config.storage.keep_days,
        config.storage.max_mb << 20,
    )
    while days or tasks or size:
        try:
            if days:
                folder = house.home / "outputs"
                await anyio.to_thread.run_sync(sweep, folder, days * upkeep.DAY)
            if tasks:
                await upkeep.forget(house, tasks)
            if size:
                await upkeep.shrink(house, size)
        except (OSError, Unavailable) as failure:
            _log.warning("not tidied: %s", failure)
        await anyio.sleep(_HOUR)


def serve_command(config: Config, environment: Mapping[str, str], *, foreground: bool) -> int:
    """Run the daemon until it is stopped."""
    token = prepare(config.home)
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
    with only_one(config.home):
        if left := orphans.clear():
            _log.info("ended %s half-made boxes that a killed daemon had left", left)
        options = {"use_uvloop": True}
        anyio.run(run_daemon, config, environment, token, kept, backend_options=options)
    return 0


def _vault(config: Config, environment: Mapping[str, str], token: str) -> Opened:
    """The vault, opened, before anything could say one of its secrets."""
    others = [*to_unsayable(config, environment), ("token", token)]
    passphrase, now = to_passphrase(config), SystemClock().now
    kept = open_vault(config.home / VAULT, passphrase=passphrase, now=now, others=others)
    check_box(config, kept.secrets.redactor.holds)
    return kept


async def examine(config: Config, environment: Mapping[str, str]) -> list[doctor.Finding]:
    """What `holdfast doctor` says."""
    vault = FileVault(config.home / VAULT, passphrase=to_passphrase(config))
    problems = vault.problems()
    kept = 0 if problems else len(vault.names())
    catalog = Catalog(models_config(config, environment, vault))
    try:
        found = await catalog.detect()
    finally:
        await catalog.close()
    model = doctor.model(found.line, offline=found.using == OFFLINE)
    noted = [(one.name, one.note) for one in found.found if one.note]
    return [
        *await _examined(config, model),
        *doctor.vault(kept, problems),
        *doctor.noted(noted),
        *doctor.doubted(catalog.doubts()),
    ]


async def _examined(config: Config, model: doctor.Finding) -> list[doctor.Finding]:
    box = BubblewrapBox(limits=to_box_limits(config))
    try:
        with only_one(config.home):
            now = SystemClock().now()
            async with open_sqlite(config.home / DATABASE, now=now) as journal:
                return await doctor.examine(config.home, journal, box, model, config.warnings)
    except Refused:
        return await doctor.examine(config.home, None, box, model, config.warnings)
    except (Broken, Unavailable) as error:
        bad = doctor.Finding(name="history", level="fail", detail=str(error), hint=error.hint)
        rest = await doctor.examine(config.home, None, box, model, config.warnings)
        return [bad, *(finding for finding in rest if finding.name != "history")]


def doctor_command(config: Config, environment: Mapping[str, str], *, fix: bool) -> int:
    """Print the findings as JSON; 1 if any is a failure."""
    prepare(config.home)
    fixed = doctor.fixed(config.home) if fix else []
    findings = [*fixed, *anyio.run(examine, config, environment)]
    settings = [row._asdict() for row in config.describe()]
    told = {
        "findings": [
            {"name": f.name, "level": f.level, "detail": f.detail, "hint": f.hint} for f in findings
        ],
        "settings": settings,
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return int(any(finding.level == "fail" for finding in findings))


def restore_command(home: Path, source: Path, *, as_json: bool) -> int:
    """Put a backup in the place of the journal; the replaced one is kept beside it."""
    prepare(home)
    with only_one(home):
        kept = store_upkeep.restore(source.absolute(), home / DATABASE)
    if as_json:
        told = json.dumps({"restored": str(source), "replaced": str(kept) if kept else None})
    else:
        told = f"restored {source}" + (f"; what was there is kept as {kept}" if kept else "")
    sys.stdout.write(f"{told}\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command line starts: the daemon, and what must not run inside it."""
    parser = argparse.ArgumentParser(prog="holdfast.assembly")
    parser.add_argument("--home", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve")
    serving.add_argument("--foreground", action="store_true")
    commands.add_parser("doctor").add_argument("--fix", action="store_true")
    restoring = commands.add_parser("restore")
    restoring.add_argument("source", type=Path)
    restoring.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    failures: list[HoldfastError] = []
    status = 0
    try:
        status = _run(given)
    except* HoldfastError as group:
        failures += _flat(group)
    return _told(failures[0]) if failures else status


def _run(given: argparse.Namespace) -> int:
    environment = dict(os.environ)  # noqa: TID251 - `--home` is laid over it
    if given.home:
        environment["HOLDFAST_HOME"] = str(given.home)
    if given.command == "restore":
        return restore_command(home_folder(environment), given.source, as_json=given.json)
    config = load(environment=environment)
    if given.command == "doctor":
        return doctor_command(config, environment, fix=given.fix)
    return serve_command(config, environment, foreground=given.foreground)


def _flat(group: BaseExceptionGroup[HoldfastError]) -> list[HoldfastError]:
    found: list[HoldfastError] = []
    for error in group.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _told(error: HoldfastError) -> int:
    """Say what is wrong once on stderr and once, with its code, in the log."""
    _log.error("%s", error, extra={"code": error.code})
    sys.stderr.write(f"error: {error}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
