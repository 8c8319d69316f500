"""Whose conversations are whose, where others may name one."""

from __future__ import annotations

from holdfast.core.error import NotAllowed
from holdfast.core.ids import SessionId
from holdfast.ports.journal import Query

from .house import House

_LOOKED_AT = 500


async def check_session(house: House, session: str, by: str) -> None:
    """What was said in a session is shown to the model: so only its owner goes on with it.

    Raises `NotAllowed`.
    """
    rows = await house.journal.query(Query(session=SessionId(session), limit=_LOOKED_AT))
    if any(row.by != by for row in rows):
        hint = "name another one, or none"
        message = f"the conversation {session} is somebody else's"
        raise NotAllowed(message, code="not_your_session", hint=hint)
