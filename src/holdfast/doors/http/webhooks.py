"""The routes about webhooks: who is told what happens, and what did not arrive."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct
from pydantic import Field

from holdfast.core.error import Refused, Unavailable
from holdfast.core.ids import Instant
from holdfast.runtime import webhooks
from holdfast.runtime.hooks import EVENTS, Delivery, Mail, Webhook
from holdfast.runtime.webhooks import NewWebhook, PostOffice

from .bodies import Body, Name, NoQuery, Nothing
from .route import Ask, Entry

_HOOK = "/api/v1/webhooks/{name}"
_SHOWN = 200


class ToAdd(Body):
    """Where to, and what."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    url: Annotated[str, Field(min_length=1, max_length=2_000)] = Field(description="https://…")
    events: Annotated[tuple[Name, ...], Field(max_length=20)] = Field(
        default=("task.complete", "task.failed"),
        strict=False,
        description="Which: shell patterns; GET /api/v1/webhooks lists what there is.",
    )
    private: bool = Field(default=False, description="It is within your own network.")


class WebhookRow(Struct, frozen=True, kw_only=True):
    """A webhook and how it stands: messages that wait, were set aside, arrived, were lost."""

    name: str
    url: str
    events: tuple[str, ...]
    private: bool
    made_at: Instant
    made_by: str
    waiting: int
    dead: int
    sent: int
    sent_at: Instant
    lost: int
    problem: str


class AddedWebhook(WebhookRow, frozen=True, kw_only=True):
    """A webhook that was added; `secret` signs its messages, and is shown this once."""

    secret: str


class WebhookList(Struct, frozen=True, kw_only=True):
    """All webhooks, and the events that there are."""

    webhooks: tuple[WebhookRow, ...]
    events: dict[str, str]


class Undelivered(Struct, frozen=True, kw_only=True):
    """One message that has not arrived."""

    id: str
    event: str
    at: Instant
    task: str
    tries: int
    next_at: Instant
    problem: str


class Messages(Struct, frozen=True, kw_only=True):
    """What has not arrived: `waiting` is tried again, `dead` only when somebody says so."""

    webhook: str
    waiting: tuple[Undelivered, ...]
    dead: tuple[Undelivered, ...]


class TestedWebhook(Struct, frozen=True, kw_only=True):
    """What came of a test."""

    webhook: str
    status: int
    ok: bool


class TriedAgain(Struct, frozen=True, kw_only=True):
    """How many are tried once more."""

    webhook: str
    again: int


class RemovedWebhook(Struct, frozen=True, kw_only=True):
    """It is gone, with its mail and its secret."""

    webhook: str


def _office(ask: Ask[Any, Any]) -> PostOffice:
    office = ask.door.facts.office
    if office is None:
        raise Refused("this daemon has no webhooks", code="no_webhooks")
    return office


async def webhook_list(ask: Ask[NoQuery, Nothing]) -> WebhookList:
    rows = (_row(hook, mail) for hook, mail in _office(ask).all())
    return WebhookList(webhooks=tuple(rows), events=EVENTS)


async def webhook_add(ask: Ask[NoQuery, ToAdd]) -> AddedWebhook:
    new = NewWebhook(**ask.body.model_dump())
    hook, secret = await webhooks.add(_office(ask), new, by=ask.by)
    return AddedWebhook(secret=secret, **_facts(hook, Mail(read=0)))


async def webhook_messages(ask: Ask[NoQuery, Nothing]) -> Messages:
    mail = _office(ask).postman(ask.path("name")).mail
    return Messages(
        webhook=ask.path("name"),
        waiting=tuple(map(_message, mail.due[:_SHOWN])),
        dead=tuple(map(_message, mail.dead[-_SHOWN:])),
    )


async def webhook_test(ask: Ask[NoQuery, Nothing]) -> TestedWebhook:
    name, ident = ask.path("name"), ask.house.clock.new_id("msg")
    answer = await webhooks.test(_office(ask), name, ident)
    if not 200 <= answer.status < 300:
        what = f"the webhook {name} answered {answer.status}"
        raise Unavailable(what, code="webhook_failed", hint="the message was not taken")
    return TestedWebhook(webhook=name, status=answer.status, ok=True)


async def webhook_retry(ask: Ask[NoQuery, Nothing]) -> TriedAgain:
    name = ask.path("name")
    return TriedAgain(webhook=name, again=await webhooks.again(_office(ask), name))


async def webhook_remove(ask: Ask[NoQuery, Nothing]) -> RemovedWebhook:
    name = ask.path("name")
    await webhooks.remove(_office(ask), name, by=ask.by)
    return RemovedWebhook(webhook=name)


def _row(hook: Webhook, mail: Mail) -> WebhookRow:
    return WebhookRow(**_facts(hook, mail))


def _facts(hook: Webhook, mail: Mail) -> dict[str, Any]:
    troubled = next((one.problem for one in mail.due if one.problem), "")
    return {
        "name": hook.name,
        "url": hook.url,
        "events": hook.events,
        "private": hook.private,
        "made_at": hook.made_at,
        "made_by": hook.made_by,
        "waiting": len(mail.due),
        "dead": len(mail.dead),
        "sent": mail.sent,
        "sent_at": mail.sent_at,
        "lost": mail.lost,
        "problem": troubled or (mail.dead[-1].problem if mail.dead else ""),
    }


def _message(one: Delivery) -> Undelivered:
    return Undelivered(
        id=one.id,
        event=one.event,
        at=one.at,
        task=one.task,
        tries=one.tries,
        next_at=one.next_at,
        problem=one.problem,
    )


WEBHOOK_ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/api/v1/webhooks", webhook_list, "Who is told what happens.", WebhookList),
    Entry(
        "POST",
        "/api/v1/webhooks",
        webhook_add,
        "Tell somebody what happens from now on. The secret is shown this once.",
        AddedWebhook,
        body=ToAdd,
        status=201,
        errors=(409, 503),
        again=False,
    ),
    Entry("GET", f"{_HOOK}/messages", webhook_messages, "What has not arrived.", Messages),
    Entry(
        "POST",
        f"{_HOOK}/test",
        webhook_test,
        "Say something to it now.",
        TestedWebhook,
        errors=(503,),
    ),
    Entry(
        "POST",
        f"{_HOOK}/retry",
        webhook_retry,
        "Try once more what was set aside.",
        TriedAgain,
        errors=(503,),
    ),
    Entry(
        "POST",
        f"{_HOOK}/remove",
        webhook_remove,
        "Tell it nothing any more; what waits for it is gone.",
        RemovedWebhook,
        errors=(503,),
    ),
)
