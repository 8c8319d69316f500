"""What webhooks are: words of the use cases and of those who carry them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.ids import Instant

from .shelf import Shelf

EVENTS: dict[str, str] = {
    "task.submitted": "somebody wants something done",
    "task.started": "it is being worked on, for the first time or again",
    "task.retried": "somebody wants it tried once more",
    "approval.wanted": "a call waits for a person",
    "task.complete": "it is done",
    "task.failed": "it failed, and is not tried again by itself",
    "task.canceled": "somebody stopped it",
    "budget.warning": "four fifths of a budget, or of a task's limit, are used",
}
TEST = "webhook.test"
OWNER = "webhook"
"""As whom secrets are used and requests are made."""

_MINUTE, _HOUR = 60_000, 3_600_000
PAUSES: tuple[int, ...] = (
    *(5_000, 30_000),
    *(2 * _MINUTE, 10 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
)
"""How long after each failure it is tried again; after the last one it is set aside."""
MOST = 10_000
"""Deliveries of one webhook that may wait, or be set aside."""
_PREFIX = "whsec_"


class Webhook(Struct, frozen=True, kw_only=True):
    """Where to, and what: `events` are shell patterns. `secret` is its name in the vault."""

    name: str
    url: str
    events: tuple[str, ...]
    secret: str
    private: bool = False
    made_at: Instant = 0
    made_by: str = ""

    def wants(self, event: str) -> bool:
        return any(fnmatchcase(event, pattern) for pattern in self.events)


class Webhooks(Struct, frozen=True, kw_only=True):
    """What is on the shelf."""

    webhooks: tuple[Webhook, ...] = ()


class Delivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to tell. The same `id` again is the same thing, however often it arrives.

    `record` is the number of the audit's record that says so, or 0; then `data` is what to say.
    """

    id: str
    event: str
    at: Instant
    record: int = 0
    task: str = ""
    data: Mapping[str, object] = {}
    tries: int = 0
    next_at: Instant = 0
    problem: str = ""

    def failed(self, problem: str, now: Instant, *, least: int = 0) -> Delivery:
        pause = max(PAUSES[min(self.tries, len(PAUSES) - 1)], least)
        return replace(self, tries=self.tries + 1, next_at=now + pause, problem=problem[:300])

    @property
    def hopeless(self) -> bool:
        return self.tries > len(PAUSES)


class Mail(Struct, frozen=True, kw_only=True):
    """How far a webhook has come: the audit's record it has read to, what waits, what was set
    aside."""

    read: int
    due: tuple[Delivery, ...] = ()
    dead: tuple[Delivery, ...] = ()
    sent: int = 0
    sent_at: Instant = 0
    lost: int = 0
    warned: tuple[str, ...] = ()


class Answered(Struct, frozen=True, kw_only=True):
    """What the other side said. `after`: it wants to be asked again in so many milliseconds."""

    status: int
    after: int = 0


class Parcel(Struct, frozen=True, kw_only=True):
    """A request that is ready to go."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Carrier(Protocol):
    """The way out. Raises `NotAllowed` for where nobody may go, `Unavailable`."""

    async def carry(self, hook: Webhook, parcel: Parcel) -> Answered: ...


class Shelves(Protocol):
    """Where the webhooks are kept, and the mail of each."""

    @property
    def webhooks(self) -> Shelf[Webhooks]: ...

    def mail(self, name: str, read: int) -> Shelf[Mail]:
        """What waits for one; a new one begins with what comes after the record `read`."""
        ...

    def forget(self, name: str) -> None: ...


def new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(secret: str, ident: str, seconds: int, body: bytes) -> Mapping[str, str]:
    """The headers of Standard Webhooks: who has the secret can tell that it is ours, and when."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    said = b"%b.%d.%b" % (ident.encode(), seconds, body)
    mark = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": ident,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{mark}",
    }
