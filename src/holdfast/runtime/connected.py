"""What the house knows of Slack workspaces that people have connected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol


class Workspace(Protocol):
    """One of them. `begun`: a person finishes `attempt` at `authorize`, which ends at `redirect`;
    `over`: only a new login helps. `lasts`: its token is renewed by itself."""

    @property
    def alias(self) -> str: ...
    @property
    def state(self) -> Literal["none", "begun", "in", "over"]: ...
    @property
    def team(self) -> str: ...
    @property
    def team_id(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def user_id(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def expires_at(self) -> int: ...
    @property
    def lasts(self) -> bool: ...
    @property
    def attempt(self) -> str: ...
    @property
    def authorize(self) -> str: ...
    @property
    def redirect(self) -> str: ...
    @property
    def note(self) -> str: ...


class Workspaces(Protocol):
    """All of them, by alias. Raises `NotFound`, `Invalid`, `NotAllowed` for a refusal of Slack's,
    and `Unavailable`."""

    async def all(self) -> Sequence[Workspace]: ...

    async def begin(self, alias: str, told: Mapping[str, Any]) -> Workspace:
        """`told`: client_id, client_secret, team, scopes, redirect; what is left out is as before.
        Who we are to Slack is kept from now on, whatever becomes of the login."""
        ...

    async def finish(self, attempt: str, answer: str) -> Workspace:
        """`answer` is the address that a browser ended at."""
        ...

    async def forget(self, alias: str, *, local_only: bool) -> bool:
        """Whether Slack has taken the token back."""
        ...

    async def keep(self) -> None:
        """Renew tokens that nobody uses, for as long as this runs."""
        ...
