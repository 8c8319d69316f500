"""What can go wrong while one talks with a server. None of it may harm anybody but the call."""

from __future__ import annotations

import anyio
from msgspec import Raw, Struct


class Problem(Struct, frozen=True):
    """Why a request failed, in the server's words."""

    code: int = 0
    message: str = ""
    data: Raw = Raw(b"null")


class Trouble(Exception):
    """The server did not do what it was asked. `sent` False: it certainly never heard of it."""

    code = "mcp_trouble"

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class Gone(Trouble):
    """The conversation is over; a new one must begin."""

    code = "mcp_gone"


class Forgotten(Gone):
    """It does not know the session any more, so it has not looked at what it was asked."""


class TurnedAway(Gone):
    """Not what one says to a request of the protocol: `status` is that of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unmet(Trouble):
    """It wants to know something first, and is not told: so it has not done what it was asked."""

    code = "mcp_unmet"

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class Silent(Trouble):
    """No answer in time."""

    code = "mcp_timeout"


UNFORESEEN = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError),
    *(anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream),
)
"""What reading a server's words may raise where nobody thought of it: that one conversation ends,
and no other."""


class Odd(Trouble):
    """What it says breaks the protocol, or a bound."""

    code = "mcp_odd"


class Said(Trouble):
    """The server's own word about why not: it answered, so the call is over."""

    code = "mcp_error"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.number, self.data = problem.code, problem.data


class LoginNeeded(Trouble):
    """The server wants to know who is asking."""

    code = "mcp_login_needed"
