"""What can go wrong, as one tree; each door maps it once.

HoldfastError
├─ Refused       the request makes no sense now            -> HTTP 409, exit 2
│  ├─ NotFound   there is no such thing                    -> HTTP 404, exit 2
│  ├─ Invalid    the input is wrong; says what and where   -> HTTP 422, exit 2
│  └─ Conflict   someone else wrote first: reload          -> HTTP 409, exit 2
├─ NotAllowed    identity or policy says no                -> HTTP 403, exit 3
├─ Unavailable   the world failed; worth trying again      -> HTTP 503, exit 4
│  └─ Saturated  too much is queued; says when to return   -> HTTP 429, exit 4
└─ Broken        our bug or damaged data: stop, say where  -> HTTP 500, exit 70

What a *model* should know is not an exception: it is an `Outcome`.
"""

from __future__ import annotations


class HoldfastError(Exception):
    """The root; `code` is stable and documented, `hint` says what to do next."""

    code = "error"
    http_status = 500
    exit_code = 70

    def __init__(self, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.hint = hint


class Refused(HoldfastError):
    """The request makes no sense in the present state."""

    code, http_status, exit_code = "refused", 409, 2


class NotFound(Refused):
    """There is no such thing."""

    code, http_status = "not_found", 404


class Invalid(Refused):
    """The input is wrong; the message says what and where."""

    code, http_status = "invalid", 422


class Conflict(Refused):
    """Someone else appended first: reload and try again."""

    code = "conflict"


class NotAllowed(HoldfastError):
    """Identity or policy says no."""

    code, http_status, exit_code = "not_allowed", 403, 3


class Unavailable(HoldfastError):
    """The world failed; trying again later may work."""

    code, http_status, exit_code = "unavailable", 503, 4


class Saturated(Unavailable):
    """Too much is queued already; `retry_after` is in seconds."""

    code, http_status = "saturated", 429

    def __init__(self, message: str, *, retry_after: int = 1, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Broken(HoldfastError):
    """Our bug, or damaged data."""

    code, http_status, exit_code = "broken", 500, 70
