"""One paid try of one model."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.context import Prompt
from holdfast.core.message import Reply
from holdfast.ports.model import Account, Delta, Model, ModelFailure, ToolSpec


async def asked(
    model: Model,
    prompt: Prompt,
    tools: tuple[ToolSpec, ...],
    hear: Callable[[Delta], None],
    account: Account,
) -> Reply:
    """The reply of `model`, held on `account` before it is sent and settled after."""
    await account.hold(model.name, model.reserve(prompt, tools))
    try:
        reply = await model.ask(prompt, tools, hear)
    except ModelFailure as failure:
        await (account.lose() if failure.paid else account.release())
        raise
    await account.settle(model.name, reply.usage)
    return reply
