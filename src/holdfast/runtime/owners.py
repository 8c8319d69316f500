"""Whose conversations are whose, where others may name one."""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.core.error import NotAllowed
from holdfast.core.ids import SessionId
from holdfast.core.task import Request

from .chatting import KIND

_USERS = "openai:"


def session_of_user(by: str, user: str) -> SessionId:
    """The conversation of somebody whom a client names, within what is that client's own."""
    return SessionId(f"{_USERS}{by}:{user}")


def is_for_others(session: str) -> bool:
    """Whether it is a conversation of somebody for whom a client or a bridge speaks."""
    return session.startswith((_USERS, KIND))


def within_own(request: Request) -> Request:
    """The request, to be taken in only if nobody else has begun its session.

    The model is shown only what its owner said there: who may see every task may speak there, too.
    The journal decides it, in the commit that takes the task in: of two who begin a session at
    once, one gets it. Raises `NotAllowed`.
    """
    session, by = request.session, request.by
    own = (session_of_user(by, ""), f"{KIND}{by}/")
    if is_for_others(session) and not session.startswith(own):
        hint = "name another one, or none"
        message = f"the conversation {session} is somebody else's"
        raise NotAllowed(message, code="not_your_session", hint=hint)
    return replace(request, own_session=bool(session))
