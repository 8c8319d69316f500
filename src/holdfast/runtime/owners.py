"""Whose conversations are whose, where others may name one."""

from __future__ import annotations

from holdfast.core.error import NotAllowed
from holdfast.core.ids import SessionId
from holdfast.ports.journal import Query

from .chatting import KIND
from .house import House

_LOOKED_AT = 500
_USERS = "openai:"


def session_of_user(by: str, user: str) -> SessionId:
    """The conversation of somebody whom a client names, within what is that client's own."""
    return SessionId(f"{_USERS}{by}:{user}")


def is_for_others(session: str) -> bool:
    """Whether it is a conversation of somebody for whom a client or a bridge speaks."""
    return session.startswith((_USERS, KIND))


async def check_session(house: House, session: str, by: str) -> None:
    """What was said in a session is shown to the model: so only its owner goes on with it.

    Raises `NotAllowed`.
    """
    own = (session_of_user(by, ""), f"{KIND}{by}/")
    others = is_for_others(session) and not session.startswith(own)
    rows = await house.journal.query(Query(session=SessionId(session), limit=_LOOKED_AT))
    if others or any(row.by != by for row in rows):
        hint = "name another one, or none"
        message = f"the conversation {session} is somebody else's"
        raise NotAllowed(message, code="not_your_session", hint=hint)
