"""What an agent has of a server that wants a login: word of it, and a way to ask its person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from holdfast.adapters.tools.craft import Craft
from holdfast.core.error import HoldfastError
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import EffectClass, Failed, Outcome, Returned
from holdfast.ports.tools import Job, Tool, Traits

from .logins import Logins

_Server = Annotated[str, Meta(description="The server's name.", min_length=1, max_length=40)]


class LoginRequired(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tools of this server can be used once a person has logged in. Says what to do for that.

    Its tools appear by themselves afterwards.
    """


class LoginStart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Begin a login to a server of tools. Returns an address: give it to the person you work for.

    They open it in a browser, log in, and tell you the address that the browser ends at.
    """

    server: _Server


class LoginComplete(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Finish a login to a server of tools with the address that the person's browser ended at."""

    server: _Server
    callback_url: Annotated[
        str, Meta(description="The whole address, with its code and state.", min_length=1)
    ]


def login_tools(logins: Logins, waiting: Iterable[ServerSpec]) -> list[Tool]:
    """One tool for each server that is `waiting` for a login, and the two that help with that."""
    found: list[Tool] = [_required(spec) for spec in waiting]
    if not found:
        return []
    agents = tuple(dict.fromkeys(one for tool in found for one in tool.traits.agents))

    async def start(asked: LoginStart, job: Job) -> Outcome:
        try:
            begun = await logins.begin(asked.server)
        except HoldfastError as error:
            return Failed(text=f"{error}. {error.hint}", code=error.code)
        if begun.state == "in":
            return Returned(text=f"logged in to {asked.server}: nobody is needed for that")
        return Returned(
            text=f"{begun.url}\nIt is issued by {begun.issuer} and ends at {begun.redirect}, which "
            "may show an error: the address is what counts."
        )

    async def complete(asked: LoginComplete, job: Job) -> Outcome:
        try:
            made = await logins.finish_for(asked.server, asked.callback_url)
        except HoldfastError as error:
            return Failed(text=f"{error}. {error.hint}", code=error.code)
        return Returned(text=f"logged in to {made.server} by {made.issuer}")

    # Addresses, names and reasons are the server's or its issuer's: a stranger's words.
    writes = Traits(effect=EffectClass.WRITES, target="server", source="mcp", agents=agents)
    return [
        *found,
        Craft("mcp_login_start", LoginStart, writes, start),
        Craft("mcp_login_complete", LoginComplete, writes, complete),
    ]


def _required(spec: ServerSpec) -> Tool:
    async def told(_: LoginRequired, job: Job) -> Outcome:
        text = (
            f"MCP_AUTH_REQUIRED:server={spec.name}; reason=nobody is logged in; ask the person to "
            f"run `holdfast mcp login {spec.name}`, or use mcp_login_start"
        )
        return Failed(text=text, code="mcp_login_needed")

    traits = Traits(effect=EffectClass.READS, agents=spec.agents)
    return Craft(f"mcp_{spec.name}_login_required", LoginRequired, traits, told)
