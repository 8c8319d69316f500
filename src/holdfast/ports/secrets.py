"""Secrets that agents use without ever seeing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeVar

from msgspec import Struct

from holdfast.core.ids import Instant

Charset = Literal["urlsafe", "hex", "alphanumeric"]
T = TypeVar("T")


class Terms(Struct, frozen=True, kw_only=True):
    """Who may use a secret (shell patterns for agents), and how much; 0: no limit."""

    grants: tuple[str, ...] = ()
    per_minute: int = 5
    max_uses: int = 0
    expires_at: Instant = 0
    note: str = ""


class Secret(Struct, frozen=True, kw_only=True):
    """What is known of a secret: never its value. One that is `short` is not redacted."""

    name: str
    terms: Terms
    made_at: Instant
    changed_at: Instant
    uses: int
    last_used: Instant
    short: bool = False


class Made(Struct, frozen=True, kw_only=True):
    """How a secret is made up: `length` characters of `charset`."""

    length: int = 32
    charset: Charset = "urlsafe"


class Use(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who used it when."""

    at: Instant
    agent: str
    task: str = ""
    tool: str = ""


class Secrets(Protocol):
    """For the house's last steps, and for whoever lists names. `redact` takes known values out."""

    async def names(self, agent: str) -> Sequence[str]:
        """What the agent may use."""
        ...

    async def use(self, name: str, *, agent: str, task: str, tool: str) -> str:
        """The value; the use is durable before it is returned. Raises `NotAllowed` (no grant, too
        often, used up, over), the same for a name that there is not, and `Unavailable`, `Broken`.
        """
        ...

    async def put(
        self, name: str, value: str, terms: Terms | None = None, *, by: str = ""
    ) -> Secret:
        """Keep it; without terms those from before stay. Raises `Invalid`, `NotAllowed`.

        `by` is whose doing it is, for the audit.
        """
        ...

    async def generate(
        self, name: str, made: Made, terms: Terms | None = None, *, by: str = ""
    ) -> Secret:
        """Make one that nobody has seen. Raises `Refused` if there is one of this name."""
        ...

    def redact(self, text: str) -> str: ...

    def clean(self, value: T) -> T:
        """The same value with every text in it redacted."""
        ...


class Safe(Secrets, Protocol):
    """What people do with secrets besides. Raises `NotFound`, and `NotAllowed` for the house's."""

    async def all(self) -> Sequence[Secret]: ...

    async def change(self, name: str, terms: Mapping[str, object], *, by: str = "") -> Secret:
        """Other terms, by the names of the fields."""
        ...

    async def delete(self, name: str, *, by: str = "") -> bool: ...

    async def uses(self, name: str) -> Sequence[Use]:
        """The latest, newest first."""
        ...
