"""What is said to the house itself in a conversation: `/new`, `/resume` and the like.

One set for all doors where people talk. Nothing of it reaches a model, and nobody is shown what is
not theirs.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.agent import Agent
from holdfast.core.ids import SessionId
from holdfast.core.view import Summary
from holdfast.ports.journal import Query

from .chatting import Talk
from .house import House
from .owners import is_for_others

_KEPT, _LATEST, _LOOKED_AT, _SHOWN = 50, 10, 500, 100
_COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
_TO_THE_MODEL = frozenset({"tool"})
"""`/tool name {json}` tells the model what to do: that is no command of the house."""
_DEFAULT = "default"


class Party(Struct, frozen=True, kw_only=True):
    """Who speaks: how the names of their conversations begin, and which agents are for them."""

    prefix: str
    may_use: Callable[[str], bool]


class Reply(NamedTuple):
    """What the house says, and where whoever asked stands from now on."""

    text: str
    talk: Talk


def is_command(text: str) -> bool:
    """Whether it is said to the house; a path like /etc/hosts is not."""
    found = _COMMAND.fullmatch(text.strip())
    return found is not None and found[1].lower() not in _TO_THE_MODEL


async def command(house: House, party: Party, talk: Talk, text: str) -> Reply:
    """Do what a command says. One that there is not is answered, too."""
    found = _COMMAND.fullmatch(text.strip())
    word, rest = (found[1].lower(), (found[2] or "").strip()) if found else ("", "")
    known = _COMMANDS.get(word)
    if known is None:
        named = (text.split() or ["/"])[0][:_SHOWN]
        return Reply(text=f"There is no {named}; /help lists what there is.", talk=talk)
    return await known[1](house, party, talk, rest)


def begun(house: House, party: Party, talk: Talk) -> Talk:
    """In a new conversation, with the same agent. The oldest of very many is not listed any more;
    what was said in it is kept like everything else."""
    session = f"{party.prefix}{house.clock.new_id('chat')[-12:]}"
    return replace(talk, session=session, sessions=(session, *talk.sessions)[:_KEPT])


def agents(house: House) -> dict[str, Agent]:
    """Who can be spoken to, by name."""
    return {house.agent.name: house.agent}


def agent_of(house: House, name: str) -> Agent | None:
    """The agent of that name; `default`, or no name, is the house's own."""
    return house.agent if name in ("", _DEFAULT) else agents(house).get(name)


async def talk_of(house: House, by: str, session: str, agent: str) -> Talk:
    """Where a principal stands that speaks for itself, and keeps its place itself."""
    rows = await house.journal.query(Query(by=by, limit=_LOOKED_AT))
    names = (row.session for row in rows if row.session and not is_for_others(row.session))
    mine = tuple(dict.fromkeys(names))[:_KEPT]
    return Talk(session=session, agent=agent, sessions=mine)


async def _new(house: House, party: Party, talk: Talk, _: str) -> Reply:
    talk = begun(house, party, talk)
    return Reply(text=f"A new conversation: {_short(party, talk.session)}.", talk=talk)


async def _resume(house: House, party: Party, talk: Talk, wanted: str) -> Reply:
    if not wanted:
        return Reply(text="Say which: /resume ID. /chats lists yours.", talk=talk)
    exact = [one for one in talk.sessions if wanted in (one, _short(party, one))]
    close = [one for one in talk.sessions if _short(party, one).startswith(wanted)]
    found = exact or close
    if len(found) != 1:
        named = wanted[:_SHOWN]
        what = f"{named} could be several of yours" if found else f"You have no {named}"
        return Reply(text=f"{what}. /chats lists yours.", talk=talk)
    row = await _last(house, found[0])
    about = f": {row.title}" if row else ""
    text = f"Going on with {_short(party, found[0])}{about}"
    return Reply(text=text, talk=replace(talk, session=found[0]))


async def _chats(house: House, party: Party, talk: Talk, _: str) -> Reply:
    return Reply(text=await _listed(house, party, talk, _KEPT), talk=talk)


async def _sessions(house: House, party: Party, talk: Talk, _: str) -> Reply:
    return Reply(text=await _listed(house, party, talk, _LATEST), talk=talk)


async def _agents(house: House, party: Party, talk: Talk, _: str) -> Reply:
    names = [name for name in agents(house) if party.may_use(name)]
    return Reply(text="\n".join(names) or "There is no agent that you may use.", talk=talk)


async def _agent(house: House, party: Party, talk: Talk, wanted: str) -> Reply:
    found = agent_of(house, wanted or talk.agent)
    if found is None or not party.may_use(found.name):
        named = (wanted or talk.agent)[:_SHOWN]
        return Reply(text=f"There is no agent {named}: see /agents.", talk=talk)
    if not wanted:
        return Reply(text=f"You speak to {found.name}.", talk=talk)
    return Reply(text=f"You speak to {found.name} now.", talk=replace(talk, agent=found.name))


async def _help(house: House, party: Party, talk: Talk, _: str) -> Reply:
    rows = [f"{how:<14}{what}" for how, _, what in _COMMANDS.values()]
    return Reply(text="\n".join(rows), talk=talk)


async def _listed(house: House, party: Party, talk: Talk, most: int) -> str:
    """Their conversations, the one that was spoken in last first."""
    rows = [(one, await _last(house, one)) for one in talk.sessions]
    rows.sort(key=lambda pair: pair[1].updated_at if pair[1] else 0, reverse=True)
    rows = [pair for pair in rows if pair[1] or pair[0] == talk.session][:most]
    lines = [_line(party, talk, session, row) for session, row in rows]
    return "\n".join(lines) or "You have no conversation yet."


def _line(party: Party, talk: Talk, session: str, row: Summary | None) -> str:
    here = "*" if session == talk.session else " "
    when, title = ("now", "nothing said yet") if row is None else (_moment(row), row.title)
    return f"{here} {_short(party, session)}  {when}  {title}"


async def _last(house: House, session: str) -> Summary | None:
    rows = await house.journal.query(Query(session=SessionId(session), limit=1))
    return rows[0] if rows else None


def _moment(row: Summary) -> str:
    return datetime.fromtimestamp(row.updated_at / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _short(party: Party, session: str) -> str:
    return session.removeprefix(party.prefix)


_Do = Callable[[House, Party, Talk, str], Awaitable[Reply]]
_COMMANDS: dict[str, tuple[str, _Do, str]] = {
    "new": ("/new", _new, "begin a new conversation"),
    "resume": ("/resume ID", _resume, "go on with one of yours"),
    "chats": ("/chats", _chats, "all of your conversations here"),
    "sessions": ("/sessions", _sessions, "the last ten of them"),
    "agents": ("/agents", _agents, "who can be spoken to"),
    "agent": ("/agent [NAME]", _agent, "who you speak to, or shall from now on"),
    "help": ("/help", _help, "what there is"),
}
