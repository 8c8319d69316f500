"""Tell others what happens: webhooks are added, tried, looked at, tried again, removed."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from msgspec import Struct

from holdfast.core.audit.fact import Fact
from holdfast.core.error import Invalid, NotFound, Refused
from holdfast.ports.secrets import Terms

from .hooks import EVENTS, OWNER, Answered, Carrier, Mail, Shelves, Webhook, Webhooks, new_secret
from .house import House
from .post import Postman, Wire, tried

_log = logging.getLogger("holdfast.webhooks")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LONGEST_URL = 2_000
_MOST = 100


class NewWebhook(Struct, frozen=True, kw_only=True):
    """What a webhook is to be; `private`: its name may lead to an inner address, without TLS."""

    name: str
    url: str
    events: tuple[str, ...] = ("task.complete", "task.failed")
    private: bool = False


class PostOffice:
    """All webhooks of a house, each with its postman. `run` keeps them walking."""

    def __init__(self, house: House, carrier: Carrier, shelves: Shelves) -> None:
        self._house, self._carrier, self._shelves = house, carrier, shelves
        self._turn, self._changed = anyio.Lock(), anyio.Event()
        self._hooks = {hook.name: hook for hook in shelves.webhooks.read().webhooks}
        self._postmen = {name: self._postman(hook) for name, hook in self._hooks.items()}
        self._walking = dict[str, anyio.CancelScope]()

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            while True:
                for name in self._postmen.keys() - self._walking.keys():
                    self._walking[name] = anyio.CancelScope()
                    group.start_soon(self._walk, self._postmen[name], self._walking[name])
                await self._changed.wait()
                self._changed = anyio.Event()

    def all(self) -> Sequence[tuple[Webhook, Mail]]:
        return [(self._hooks[name], self._postmen[name].mail) for name in sorted(self._hooks)]

    def postman(self, name: str) -> Postman:
        """Raises `NotFound`."""
        if found := self._postmen.get(name):
            return found
        hint = "holdfast webhook list"
        raise NotFound(f"there is no webhook {name}", code="webhook_not_found", hint=hint)

    async def add(self, new: NewWebhook, *, by: str) -> tuple[Webhook, str]:
        """The webhook, and the secret that its messages are signed with: shown here alone."""
        house, secret = self._house, new_secret()
        hook = Webhook(
            name=new.name,
            url=new.url,
            events=new.events,
            secret=f"webhook/{new.name}",
            private=new.private,
            made_at=house.clock.now(),
            made_by=by,
        )
        async with self._turn:
            if new.name in self._hooks:
                what = f"there is a webhook {new.name}"
                raise Refused(what, code="webhook_exists", hint="holdfast webhook remove")
            if len(self._hooks) >= _MOST:
                raise Refused(f"there are {_MOST} webhooks already", code="too_many_webhooks")
            terms = Terms(grants=(OWNER,), per_minute=0, note=f"signs for {new.url[:200]}")
            await house.secrets.put(hook.secret, secret, terms, by=by)
            await self._say(hook, by, after="made")
            # What happens from now on is told, whatever becomes of this process.
            fresh = Mail(read=house.audit.size)
            await anyio.to_thread.run_sync(self._shelves.mail(hook.name, 0).write, fresh)
            await self._keep({**self._hooks, hook.name: hook})
            self._postmen[hook.name] = self._postman(hook)
            self._changed.set()
        return hook, secret

    async def remove(self, name: str, *, by: str) -> None:
        """It, its mail and its secret are gone. Raises `NotFound`."""
        async with self._turn:
            postman = self.postman(name)
            await self._say(postman.hook, by, after="removed")
            left = {key: hook for key, hook in self._hooks.items() if key != name}
            await self._keep(left)
            del self._postmen[name]
            if scope := self._walking.pop(name, None):
                scope.cancel()
            await anyio.to_thread.run_sync(self._shelves.forget, name)
            await self._house.secrets.delete(postman.hook.secret, by=by)

    async def _walk(self, postman: Postman, scope: anyio.CancelScope) -> None:
        with scope:
            await postman.run()

    def _postman(self, hook: Webhook) -> Postman:
        shelf = self._shelves.mail(hook.name, self._house.audit.size)
        return Postman(hook, Wire(house=self._house, carrier=self._carrier, shelf=shelf))

    async def _keep(self, hooks: dict[str, Webhook]) -> None:
        kept = Webhooks(webhooks=tuple(hooks[name] for name in sorted(hooks)))
        await anyio.to_thread.run_sync(self._shelves.webhooks.write, kept)
        self._hooks = hooks

    async def _say(self, hook: Webhook, by: str, *, after: str) -> None:
        told = Fact(
            kind="access.changed",
            at=self._house.clock.now(),
            by=by,
            subject=f"webhook:{hook.name}",
            after=after,
        )
        await self._house.audit.append(told)


async def add(office: PostOffice, new: NewWebhook, *, by: str) -> tuple[Webhook, str]:
    """Raises `Invalid` for what is none, `Refused` for a name that is taken."""
    _checked(new)
    hook, secret = await office.add(new, by=by)
    _log.info("the webhook %s was added by %s", hook.name, by)
    return hook, secret


async def test(office: PostOffice, name: str, ident: str) -> Answered:
    """Say something to it now. Raises what goes wrong on the way."""
    postman = office.postman(name)
    return await postman.test(tried(ident, postman.now()))


async def again(office: PostOffice, name: str) -> int:
    """Try what was set aside once more; how many."""
    return await office.postman(name).again()


async def remove(office: PostOffice, name: str, *, by: str) -> None:
    await office.remove(name, by=by)
    _log.info("the webhook %s was removed by %s", name, by)


def _checked(new: NewWebhook) -> None:
    if not _NAME.fullmatch(new.name):
        hint = "lower-case letters, digits and -, 40 at most"
        raise Invalid(f"{new.name!r} is no name for a webhook", code="bad_name", hint=hint)
    _check_address(new)
    useless = [one for one in new.events if not any(fnmatchcase(event, one) for event in EVENTS)]
    if useless or not new.events:
        what = f"no event is called {useless[0]!r}" if useless else "say of which events"
        raise Invalid(what, code="bad_event", hint=f"one of {', '.join(EVENTS)}")


def _check_address(new: NewWebhook) -> None:
    try:
        parts = urlsplit(new.url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        _ = parts.port
    except ValueError as error:
        raise Invalid(f"the url is no address: {error}", code="bad_url") from None
    plain = parts.scheme == "http" and new.private
    if not host or not (secure or plain) or parts.username or len(new.url) > _LONGEST_URL:
        hint = "https://…; http:// only with `private`, for a place within your own network"
        raise Invalid(f"{new.url[:200]!r} is no address for a webhook", code="bad_url", hint=hint)
    if not new.url.isascii() or not new.url.isprintable() or " " in new.url:
        raise Invalid("the url holds characters that an address cannot", code="bad_url")
