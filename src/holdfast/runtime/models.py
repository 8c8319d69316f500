"""Ask a model straight, outside any task, for words or vectors; see which there are, and choose."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from holdfast.core.audit.fact import Fact
from holdfast.core.context import Prompt
from holdfast.core.error import Invalid
from holdfast.core.message import Entry, ModelSaid, PersonSaid, Reply, ToolAnswered
from holdfast.engine import storable
from holdfast.engine.direct import DirectAccount
from holdfast.ports.choosing import Card, Choice
from holdfast.ports.embedder import Embedded, Purpose
from holdfast.ports.ledger import Payer
from holdfast.ports.model import Delta, ToolSpec

from .house import House

_log = logging.getLogger("holdfast.models")


async def ask(
    house: House,
    name: str,
    prompt: Prompt,
    tools: tuple[ToolSpec, ...] = (),
    *,
    payer: Payer,
    hear: Callable[[Delta], None] | None = None,
) -> Reply:
    """One reply of the model `name`, under the budgets and fallbacks that every call has.

    Its tool calls are not run. `hear` gets the pieces as they come. Raises `Invalid` for a model
    or a conversation that cannot be, `OverBudget`, and `ModelFailure` when no model answered.
    """
    _check(prompt.entries)
    if prompt.shape is not None:
        await house.models.check_shape(prompt.shape)

    def pass_on(delta: Delta) -> None:
        if hear is not None:
            hear(storable.delta(delta))

    async with DirectAccount(house.ledger, house.clock, payer) as account:
        reply = await house.models.answer(name, prompt, tools, pass_on, account)
    return storable.reply(reply)


async def cards(house: House, *, fresh: bool) -> Sequence[Card]:
    """Everything that can be asked; `fresh`: as the providers tell it now."""
    return await house.choosing.cards(fresh=fresh)


def roles(house: House) -> Mapping[str, str]:
    """The model that each role has now."""
    return house.choosing.roles()


async def choose(house: House, model: str, role: str, *, by: str) -> Choice:
    """From now on `role` has `model`; "" takes a choice back."""
    fact = Fact(
        kind="config.changed", at=house.clock.now(), by=by, subject=f"role/{role}", after=model
    )
    await house.audit.append(fact)
    made = await house.choosing.choose(model, role)
    _log.info("%s was chosen as %s by %s", model or "what is configured", role, by)
    return made


async def embed(
    house: House,
    name: str,
    texts: Sequence[str],
    *,
    payer: Payer,
    purpose: Purpose = "document",
) -> Embedded:
    """The vectors of `texts` by the model `name`, under the budgets that every call has.

    Raises as `ports.Embedder` says.
    """
    async with DirectAccount(house.ledger, house.clock, payer) as account:
        return await house.embedder.embed(name, texts, account, purpose)


def _check(entries: Sequence[Entry]) -> None:
    """A conversation that any provider takes: a person begins, and every call has one answer."""
    if not entries or not isinstance(entries[0], PersonSaid):
        raise Invalid("the conversation must begin with a user's words", code="bad_conversation")
    open_calls: set[str] = set()
    for place, entry in enumerate(entries, start=1):
        if isinstance(entry, PersonSaid) and not (entry.text.strip() or entry.files):
            raise Invalid(f"message {place} says nothing", code="bad_conversation")
        if isinstance(entry, ToolAnswered):
            if entry.call_id not in open_calls:
                what = f"message {place} answers the call {entry.call_id!r}, which is not open"
                raise Invalid(what, code="bad_conversation")
            open_calls.remove(entry.call_id)
        elif open_calls:
            first = min(open_calls)
            what = f"message {place} comes before the answer to the call {first!r}"
            raise Invalid(what, code="bad_conversation")
        elif isinstance(entry, ModelSaid):
            open_calls = {call.id for call in entry.calls}
    if open_calls:
        what = f"the call {min(open_calls)!r} has no answer"
        raise Invalid(what, code="bad_conversation")
