"""One line of the audit. Names, codes and hashes only: what was said is never in it."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec
from msgspec import Struct

from holdfast.core.error import Broken
from holdfast.core.ids import Instant

Kind = Literal[
    "task.submitted",
    "task.started",
    "task.retried",
    "task.ended",
    "call.judged",
    "call.approved",
    "call.refused",
    "call.settled",
    "labels.vouched",
    "secret.used",
    "secret.denied",
    "vault.changed",
    "egress.allowed",
    "egress.denied",
    "config.changed",
    "config.refused",
    "access.changed",
    "trust.changed",
    "budget.raised",
    "budget.settled",
    "task.undone",
    "task.purged",
    "task.forgotten",
    "audit.forgotten",
    "house.started",
    "house.stopped",
    "house.restored",
]
KINDS: tuple[str, ...] = get_args(Kind)


class Fact(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who did or was allowed what, and when.

    `event` and `link` are the number of the event in the task's stream that says so, and the
    stream's chain value after it. `digest` stands for what is not here: a call's exact tool and
    arguments, the place that was visited, a reason. `subject` is what it is about where that is no
    task, secret or tool; `before` and `after` are fingerprints or codes.
    """

    kind: Kind
    at: Instant
    by: str = ""
    task: str = ""
    event: int = 0
    link: str = ""
    agent: str = ""
    call: str = ""
    tool: str = ""
    digest: str = ""
    verdict: str = ""
    rule: str = ""
    policy: str = ""
    secret: str = ""
    code: str = ""
    subject: str = ""
    before: str = ""
    after: str = ""
    count: int = 0


_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(Fact)


def encode(fact: Fact) -> bytes:
    """The stored form: canonical JSON in one line."""
    return _ENCODER.encode(fact)


def decode(body: bytes) -> Fact:
    """Raises `Broken` for what is no fact, or one of a newer Holdfast."""
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        what = f"an audit record cannot be read: {error}"
        raise Broken(what, code="damaged_audit", hint="holdfast audit verify says more") from error
