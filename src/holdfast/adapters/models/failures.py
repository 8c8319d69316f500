"""What goes wrong with a provider, as one calm sentence with a code that says what to do.

code               retried  when
auth               no       the key is missing, wrong or not allowed (401, 403)
billing            no       the account's credit or quota is used up (402, insufficient_quota)
not_found          no       there is no such model, or the URL is wrong (404)
invalid_request    no       the provider refuses the request (400, 422)
context_overflow   no       the conversation is longer than the model can read
content_filtered   no       the provider's filter stopped it
rate_limited       yes      too many requests; says when to return (429)
overloaded         yes      the provider has trouble (5xx, 529)
connection         yes      the provider cannot be reached
timeout            yes      it took too long: to connect, to begin, between tokens, or in all
incomplete         yes      the stream ended before its terminal event
malformed          yes      what came is not what the protocol says
"""

from __future__ import annotations

import re
import time

import httpx2
from pydantic_ai import exceptions as e

from holdfast.ports.model import ModelFailure

from . import resets
from .expecting import Expected
from .remote import Address

MISSHAPEN: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
    ArithmeticError,
    RecursionError,
)
"""What the libraries raise when an answer has another shape than they expect."""
RETRYABLE = frozenset(
    {"rate_limited", "overloaded", "connection", "timeout", "incomplete", "malformed"}
)
TURNED_AWAY = frozenset(
    {
        "auth",
        "billing",
        "connection",
        "context_overflow",
        "invalid_request",
        "not_found",
        "overloaded",
        "rate_limited",
    }
)
"""The provider did not take the call, so it cannot have cost anything; see `_refused`."""
_GAVE_UP_WAITING = frozenset({504, 524})

_LONGEST_QUOTE = 240
_OVERFLOW = re.compile(
    r"context[ _](?:length|window|size|limit)|too many (?:input |prompt )?tokens|"
    r"\b(?:prompt|input|tokens|request) (?:is |are )?too (?:long|large)|content_length_limit|"
    r"input token count|maximum (?:prompt|input) length|token limit|"
    r"exceeds? the maximum number of tokens|expected maxtokens|"
    r"please reduce the length|(?:input|prompt|messages?)\b.*\bmax_tokens|"
    r"exceeds? the (?:model'?s? )?(?:available )?context",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"\b(?:eyJ[\w-]+\.[\w.-]+|tid=\S+|gh[a-z]_\w{8,})")
_FILTERED = re.compile(r"content[_ ](?:filter|policy)|safety", re.IGNORECASE)
_BAD_CALL = "tool_use_failed"  # Groq read the model's call, and could not
_NO_END = "without a `finish_reason`"
_ADVICE = {
    "auth": "Check the key of this provider and that it may use this model.",
    "billing": "Top up the account, or choose another model.",
    "not_found": "Check the model's name and the provider's URL.",
    "invalid_request": "Change the request, or choose another model.",
    "context_overflow": "Start a new task with less in it, or choose a model that reads more.",
    "content_filtered": "Say it differently, or choose another model.",
    "rate_limited": "It is tried again later.",
    "overloaded": "It is tried again later.",
    "connection": "Check the network and the URL; it is tried again.",
    "timeout": "It is tried again.",
    "incomplete": "It is asked again.",
    "malformed": "It is asked again.",
}
_SAYS = {
    "auth": "The key was not accepted for {who}",
    "billing": "The account has no credit left for {who}",
    "not_found": "The provider does not know {who}",
    "invalid_request": "The request was refused by {who}",
    "context_overflow": "The conversation is too long for {who}",
    "content_filtered": "The content filter stopped the reply of {who}",
    "rate_limited": "There were too many requests to {who}",
    "overloaded": "The provider has trouble with {who} at the moment",
    "connection": "There is no connection to {who}",
    "timeout": "It took too long to hear from {who}",
    "incomplete": "The reply broke off before its end: {who}",
    "malformed": "What came was not a reply: {who}",
}


def failure(
    code: str, address: Address, detail: str = "", *, status: int = 0, retry_after: float = 0.0
) -> ModelFailure:
    """A `ModelFailure` in our words. `detail` is quoted, without the key."""
    said = _SAYS[code].format(who=address.name) + (f" (HTTP {status})" if status else "")
    quoted = f": {_quote(detail, address)}" if detail else ""
    advice = _ADVICE[code]
    if code == "auth" and address.provider.login:
        said, advice = f"The login was not accepted for {address.name}", "Log in again."
    message = f"{said}{quoted}. {advice}".rstrip()
    return ModelFailure(
        code,
        message,
        retryable=code in RETRYABLE,
        retry_after=retry_after,
        paid=code not in TURNED_AWAY,
    )


def diverted(expected: Expected, address: Address) -> ModelFailure | None:
    """The failure, if what came is no answer at all. No key is carried after a redirect."""
    if expected.elsewhere:
        return failure("not_found", address, f"its URL leads to {expected.elsewhere}")
    return failure("malformed", address, expected.instead) if expected.instead else None


def explained(error: Exception, address: Address, *, begun: bool) -> ModelFailure:
    """What an error of the library means. `begun`: a part of the reply had already come."""
    match error:
        case ModelFailure():
            return error
        case e.ModelConnectionError() | httpx2.TransportError():
            return _unreached(error, address, begun=begun)
        case e.ModelRequestTimeout():
            return failure("timeout", address)
        case e.ModelAPIError():
            return _refused(error, address, begun=begun)
        case e.ContentFilterError():
            return failure("content_filtered", address)
        case e.UnexpectedModelBehavior() if "ended without content" in error.message:
            return failure("incomplete", address)
        case e.UserError():
            return failure("invalid_request", address, error.message)
        case _:
            return failure("malformed", address, type(error).__name__)


def _unreached(
    error: e.ModelConnectionError | httpx2.TransportError, address: Address, *, begun: bool
) -> ModelFailure:
    if isinstance(error, e.ModelTimeoutError | httpx2.TimeoutException):
        return failure("timeout", address)
    phase = error.phase if isinstance(error, e.ModelConnectionError) else None
    return failure("incomplete" if begun or phase == "read" else "connection", address)


def _refused(error: e.ModelAPIError, address: Address, *, begun: bool) -> ModelFailure:
    detail = _detail(error)
    code = _code(error, detail)
    status = error.status_code if isinstance(error, e.ModelHTTPError) else 0
    if code in {"auth", "overloaded", "incomplete", "malformed"}:
        detail = ""
    refused = failure(code, address, detail, status=status, retry_after=_wait(error, code))
    # It had begun to answer, perhaps with thoughts that it does not show; or somebody behind the
    # gateway did: that costs, whatever became of it.
    trouble = code == "overloaded" and (error.in_stream or status in _GAVE_UP_WAITING)
    refused.paid = refused.paid or begun or trouble
    return refused


def _wait(error: e.ModelAPIError, code: str) -> float:
    """How long the provider asks to wait: in so many words, or by when its counters start anew."""
    if error.retry_after is not None:
        return max(0.0, error.retry_after)
    if code != "rate_limited" or not isinstance(error, e.ModelHTTPError) or not error.headers:
        return 0.0
    return resets.wait(error.headers, time.time())


def _code(error: e.ModelAPIError, detail: str) -> str:
    if error.provider_error_code == _BAD_CALL:
        return "malformed"
    if isinstance(error, e.ModelHTTPError):
        if code := _BY_STATUS.get(error.status_code):
            return code
        if error.status_code >= 500 and _OVERFLOW.search(detail):
            return "context_overflow"
    for kind, code in _BY_CATEGORY:
        if isinstance(error, kind):
            if code == "invalid_request":
                return _kind_of_refusal(error, detail)
            return code
    if isinstance(error, e.ModelHTTPError):
        return "overloaded" if error.status_code >= 500 else "invalid_request"
    if _NO_END in error.message:
        return "incomplete"
    return "overloaded" if error.in_stream else "malformed"


def _kind_of_refusal(error: e.ModelAPIError, detail: str) -> str:
    kind = f"{error.provider_error_code} {error.provider_error_type}"
    if _OVERFLOW.search(detail) or _OVERFLOW.search(kind):
        return "context_overflow"
    filtered = _FILTERED.search(kind)
    return "content_filtered" if filtered else "invalid_request"


_BY_STATUS = {402: "billing", 408: "timeout", 409: "overloaded", 413: "context_overflow"}
_BY_CATEGORY: tuple[tuple[type[e.ModelAPIError], str], ...] = (
    (e.ModelContextWindowExceededError, "context_overflow"),
    (e.ModelAuthenticationError, "auth"),
    (e.ModelNotFoundError, "not_found"),
    (e.ModelRequestRejectedError, "invalid_request"),
    (e.ModelQuotaExceededError, "billing"),
    (e.ModelRateLimitError, "rate_limited"),
    (e.ModelUnavailableError, "overloaded"),
    (e.ModelServerError, "overloaded"),
)


def _detail(error: e.ModelAPIError) -> str:
    """What the provider itself says, from the body of its answer."""
    body: object = error.body
    for _ in range(3):
        if isinstance(body, dict):
            fields: dict[object, object] = {**body}
            body = fields.get("error") or fields.get("message") or fields.get("detail")
    return body if isinstance(body, str) and not body.lstrip().startswith("<") else ""


def _quote(text: str, address: Address) -> str:
    """In one line, short, fit to be shown, and without the key or anything that looks like one."""
    printable = (char if char.isprintable() else " " for char in text)
    plain = " ".join("".join(printable).split())
    if key := address.provider.api_key:
        plain = plain.replace(key, "[key]")
    plain = _TOKEN.sub("[token]", plain)
    plain = re.sub(r"\b(?:sk|key|AIza|gsk|xai|Bearer)[-_ ]?[\w*.-]{12,}", "[key]", plain)
    plain = plain.rstrip(". ")
    return plain if len(plain) <= _LONGEST_QUOTE else f"{plain[: _LONGEST_QUOTE - 1]}…"
