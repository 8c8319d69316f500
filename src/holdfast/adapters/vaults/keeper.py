"""Secrets that agents may use, on terms, in any vault; and everything that must never be said.

In the vault `secret/<name>` is a record: the value, its terms, and who used it. All else there is
the house's own (keys of providers, logins): it is redacted, and no agent is ever given it.
"""

from __future__ import annotations

import logging
import secrets
import string
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar, cast

import msgspec
from anyio import to_thread
from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

from holdfast.core.audit.fact import Fact
from holdfast.core.error import Broken, HoldfastError, Invalid, NotAllowed, NotFound, Refused
from holdfast.core.ids import Instant
from holdfast.core.redact import SHORTEST, Redactor
from holdfast.ports.secrets import Charset, Made, Secret, Terms, Use
from holdfast.ports.vault import Vault

from .names import checked_name

_OURS = "secret/"
_HOUSE = frozenset({"provider", "login", "installation", "secret", "push"})
_SAID_NEVER = ("value", "access", "refresh", "token", "credentials")
_MINUTE = 60_000
_LOGGED = 50
_LONGEST_NAME = 200
_SHORTEST_MADE, _LONGEST_MADE = 8, 512
_CHARS: Mapping[Charset, str] = {
    "urlsafe": string.ascii_letters + string.digits + "-_",
    "hex": "0123456789abcdef",
    "alphanumeric": string.ascii_letters + string.digits,
}
_log = logging.getLogger("holdfast.secrets")
T = TypeVar("T")


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a secret. `recent` is when each agent used it within the last minute."""

    value: str
    terms: Terms
    made_at: Instant
    changed_at: Instant
    uses: int = 0
    last_used: Instant = 0
    recent: dict[str, tuple[Instant, ...]] = {}
    log: tuple[Use, ...] = ()

    def __repr__(self) -> str:
        return f"Record(made_at={self.made_at})"


class Keeper:
    """Implements `ports.Safe`. `others` are values from elsewhere that must never be said.

    `witness` is told of every use before its value is given out, and of every change before it is
    made; what it cannot write down does not happen.
    """

    def __init__(
        self, vault: Vault, now: Callable[[], Instant], others: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._vault, self._now = vault, now
        self._lock, self._learning = threading.Lock(), threading.Lock()
        self._known: dict[str, str] = {}
        self.redactor = Redactor()
        self.witness: Callable[[Fact], Awaitable[None]] = _nobody
        self.learn(others)

    def load(self) -> None:
        """Learn what the vault has; what cannot be read is left out, and logged."""
        found: list[tuple[str, str]] = []
        for name in self._vault.names():
            try:
                found += _unsayable(name, self._vault.get(name) or "")
            except HoldfastError as problem:
                _log.warning("%s", problem)
        self.learn(found)

    def learn(self, others: Iterable[tuple[str, str]]) -> None:
        """From now on these values are redacted as well, each as what it is called."""
        with self._learning:
            fresh = {value: name for name, value in others if value not in self._known}
            if fresh:
                self._known |= fresh
                self.redactor = Redactor((name, value) for value, name in self._known.items())

    def known(self) -> Redactor:
        """What must not be said at this moment."""
        return self.redactor

    def redact(self, text: str) -> str:
        return self.redactor.text(text)

    def clean(self, value: T) -> T:
        return self.redactor.clean(value)

    async def names(self, agent: str) -> Sequence[str]:
        return [one.name for one in await self.all() if _granted(one.terms, agent)]

    async def use(self, name: str, *, agent: str, task: str, tool: str) -> str:
        use = Use(at=self._now(), agent=agent, task=task, tool=tool)
        return await self._witnessed(name, use)

    async def reveal(self, name: str, *, tool: str) -> str:
        """The value for the house itself, where a person has written the name into the
        configuration: that is the grant. Raises `NotAllowed` where there is none, or no more."""
        use = Use(at=self._now(), agent="", task="", tool=tool)
        return await self._witnessed(name, use, for_house=True)

    async def _witnessed(self, name: str, use: Use, *, for_house: bool = False) -> str:
        fact = partial(Fact, at=use.at, task=use.task, agent=use.agent, tool=use.tool)
        told = name[:_LONGEST_NAME]
        try:
            value = await to_thread.run_sync(partial(self._use, name, use, for_house=for_house))
        except HoldfastError as error:
            await self.witness(fact(kind="secret.denied", secret=told, code=error.code))
            raise
        await self.witness(fact(kind="secret.used", secret=told))
        return value

    async def put(
        self, name: str, value: str, terms: Terms | None = None, *, by: str = ""
    ) -> Secret:
        _check_value(value)
        if terms is None and (same := await to_thread.run_sync(self._same, name, value)):
            return same
        await self._changing(name, "put", by)
        return await to_thread.run_sync(self._put, name, value, terms)

    async def generate(
        self, name: str, made: Made, terms: Terms | None = None, *, by: str = ""
    ) -> Secret:
        if not _SHORTEST_MADE <= made.length <= _LONGEST_MADE:
            what = f"a generated secret has {_SHORTEST_MADE} to {_LONGEST_MADE} characters"
            raise Invalid(what, code="bad_secret")
        value = "".join(secrets.choice(_CHARS[made.charset]) for _ in range(made.length))
        await self._changing(name, "generate", by)
        return await to_thread.run_sync(partial(self._put, name, value, terms, fresh=True))

    async def _changing(self, name: str, what: str, by: str) -> None:
        _place(name)
        fact = Fact(kind="vault.changed", at=self._now(), secret=name, subject=what, by=by)
        await self.witness(fact)

    async def all(self) -> Sequence[Secret]:
        return await to_thread.run_sync(self._all)

    async def change(self, name: str, terms: Mapping[str, object], *, by: str = "") -> Secret:
        await self._changing(name, "terms", by)
        return await to_thread.run_sync(self._change, name, terms)

    async def delete(self, name: str, *, by: str = "") -> bool:
        await self._changing(name, "delete", by)
        return await to_thread.run_sync(self._vault.delete, _place(name))

    async def uses(self, name: str) -> Sequence[Use]:
        record = await to_thread.run_sync(self._there, name)
        return record.log[::-1]

    def _use(self, name: str, use: Use, *, for_house: bool = False) -> str:
        with self._lock:
            record = None
            with suppress(Invalid, NotAllowed):  # no name for a secret, or the house's own
                record = self._record(name)
            if record is None or not (for_house or _granted(record.terms, use.agent)):
                # One answer for both: who may not use it need not learn that it is there.
                whose = "the house" if for_house else f"the agent {use.agent}"
                what = f"there is no secret {name} that {whose} may use"
                raise NotAllowed(what, code="secret_not_granted", hint=_granting(name, use.agent))
            recent = _checked(name, record, use, rate=not for_house)
            record = replace(
                record,
                uses=record.uses + 1,
                last_used=use.at,
                recent=recent,
                log=(*record.log, use)[-_LOGGED:],
            )
            self._keep(name, record)
        who = use.task or "no task"
        agent = use.agent or "the house"
        _log.info("the secret %s was used by %s in %s", name, agent, use.tool or who)
        return record.value

    def _put(self, name: str, value: str, terms: Terms | None, *, fresh: bool = False) -> Secret:
        _check_terms(terms)
        with self._lock:
            now, place = self._now(), _place(name)
            before = self._record(name)
            if before is not None and fresh:
                what = f"there is a secret {name} already"
                raise Refused(what, code="secret_exists", hint="choose another name")
            record = Record(
                value=value,
                terms=terms or (before.terms if before else Terms()),
                made_at=before.made_at if before else now,
                changed_at=now,
                log=before.log if before else (),
            )
            told = msgspec.json.encode(record).decode()
            self.learn(_unsayable(place, told))  # first: nobody can use what would not be redacted
            self._vault.put(place, told)
        return _shown(name, record)

    def _same(self, name: str, value: str) -> Secret | None:
        """What is there, if it is that already."""
        record = self._record(name)
        return _shown(name, record) if record is not None and record.value == value else None

    def _change(self, name: str, terms: Mapping[str, object]) -> Secret:
        with self._lock:
            record = self._there(name)
            fields = {**to_builtins(record.terms), **terms}
            record = replace(record, terms=_check_terms(convert(fields, Terms, strict=False)))
            self._keep(name, record)
        return _shown(name, record)

    def _all(self) -> Sequence[Secret]:
        found: list[Secret] = []
        for place in self._vault.names():
            name = place.removeprefix(_OURS)
            try:
                if name != place and (record := self._record(name)) is not None:
                    found.append(_shown(name, record))
            except Broken as problem:  # the doctor says so too; the others are all right
                _log.warning("%s", problem)
        return found

    def _there(self, name: str) -> Record:
        if (record := self._record(name)) is None:
            hint = "holdfast secret list shows them"
            raise NotFound(f"there is no secret {name}", code="secret_not_found", hint=hint)
        return record

    def _record(self, name: str) -> Record | None:
        told = self._vault.get(_place(name))
        if told is None:
            return None
        try:
            return msgspec.json.decode(told, type=Record)
        except msgspec.DecodeError as error:
            raise Broken(f"the secret {name} is damaged", code="vault_damaged") from error

    def _keep(self, name: str, record: Record) -> None:
        self._vault.put(_place(name), msgspec.json.encode(record).decode())


async def _nobody(_fact: Fact) -> None:
    """No house around it keeps an audit."""


class KnownVault:
    """Implements `ports.Vault` for the house's own secrets: what is put there is redacted too."""

    def __init__(self, vault: Vault, keeper: Keeper) -> None:
        self._vault, self._keeper = vault, keeper

    def get(self, name: str) -> str | None:
        return self._vault.get(name)

    def put(self, name: str, value: str) -> None:
        self._keeper.learn(_unsayable(name, value))
        self._vault.put(name, value)

    def delete(self, name: str) -> bool:
        return self._vault.delete(name)

    def names(self) -> Sequence[str]:
        return self._vault.names()


def _is_ours(name: str) -> bool:
    kind, slash, _ = name.partition("/")
    return not slash or kind not in _HOUSE


def _place(name: str) -> str:
    """Where it is in the vault. Raises `Invalid`, and `NotAllowed` for what is the house's own."""
    if not _is_ours(name):
        hint = "provider keys are managed with holdfast connect; no agent is given one"
        raise NotAllowed(f"{name} is the house's own", code="secret_of_the_house", hint=hint)
    return checked_name(f"{_OURS}{name}")


def _unsayable(place: str, value: str) -> list[tuple[str, str]]:
    """What of an entry must not be said, and what it is called."""
    return [(place.removeprefix(_OURS), part) for part in _secret_parts(place, value)]


def _secret_parts(name: str, value: str) -> Iterable[str]:
    """Of records that hold more, only the secrets."""
    kind = name.partition("/")[0]
    if kind == "installation" or (kind == "provider" and name.endswith("/server")):
        return ()
    if kind not in {"secret", "login", "push"}:
        return (value,)
    try:
        fields: object = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return (value,)
    table = cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
    return [str(table[one]) for one in _SAID_NEVER if table.get(one)]


def _granted(terms: Terms, agent: str) -> bool:
    return any(fnmatchcase(agent, pattern) for pattern in terms.grants)


def _granting(name: str, agent: str) -> str:
    return f"a person can allow it: holdfast secret grant {name} {agent}"


def _checked(name: str, record: Record, use: Use, *, rate: bool) -> dict[str, tuple[Instant, ...]]:
    """The uses of the last minute with this one. Raises `NotAllowed` where there is none left."""
    terms = record.terms
    if terms.expires_at and terms.expires_at <= use.at:
        raise NotAllowed(f"the secret {name} has expired", code="secret_expired")
    if terms.max_uses and record.uses >= terms.max_uses:
        what = f"the secret {name} was used {record.uses} times, and that is all it may be"
        raise NotAllowed(what, code="secret_used_up")
    lately = {
        agent: kept
        for agent, times in record.recent.items()
        if (kept := tuple(at for at in times if at > use.at - _MINUTE))
    }
    mine = lately.get(use.agent, ())
    if rate and terms.per_minute and len(mine) >= terms.per_minute:
        wait = max(1, (mine[-terms.per_minute] + _MINUTE - use.at + 999) // 1000)
        what = f"the secret {name} was used {len(mine)} times within a minute; again in {wait} s"
        raise NotAllowed(what, code="secret_rate")
    return {**lately, use.agent: (*mine, use.at)} if terms.per_minute else lately


def _check_terms(terms: Terms | None) -> Terms:
    terms = terms or Terms()
    if terms.per_minute > 600 or min(terms.per_minute, terms.max_uses, terms.expires_at) < 0:
        raise Invalid("a secret is used 0 (no limit) to 600 times a minute", code="bad_terms")
    if any(not 0 < len(one) <= 100 for one in terms.grants) or len(terms.grants) > 100:
        raise Invalid("grants are at most 100 patterns of 100 characters", code="bad_terms")
    if len(terms.note) > 500:
        raise Invalid("a note has at most 500 characters", code="bad_terms")
    return terms


def _check_value(value: str) -> None:
    if not value.strip():
        raise Invalid("the secret is empty", code="bad_secret")
    if len(value) > 32 << 10:
        raise Invalid("the secret is longer than 32 KiB", code="bad_secret")


def _shown(name: str, record: Record) -> Secret:
    return Secret(
        name=name,
        terms=record.terms,
        made_at=record.made_at,
        changed_at=record.changed_at,
        uses=record.uses,
        last_used=record.last_used,
        short=len(record.value.strip()) < SHORTEST,
    )
