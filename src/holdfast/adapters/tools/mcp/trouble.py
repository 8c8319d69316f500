"""What can go wrong while one talks with a server. None of it may harm anybody but the call."""

from __future__ import annotations


class Trouble(Exception):
    """The server did not do what it was asked. `sent` False: it certainly never heard of it."""

    code = "mcp_trouble"

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class Gone(Trouble):
    """The conversation is over; a new one must begin."""

    code = "mcp_gone"


class Silent(Trouble):
    """No answer in time."""

    code = "mcp_timeout"


class Odd(Trouble):
    """What it says breaks the protocol, or a bound."""

    code = "mcp_odd"


class Said(Trouble):
    """The server's own word about why not: it answered, so the call is over."""

    code = "mcp_error"

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


class LoginNeeded(Trouble):
    """The server wants to know who is asking."""

    code = "mcp_login_needed"
