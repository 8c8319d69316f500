"""One paid try of one model: what is held is ended exactly once, whatever happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.lowlevel

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
    """The reply of `model`, held on `account` before it is sent and settled after.

    Waiting for money may be cancelled; what is held is then ended, whatever happens.
    """
    await account.hold(model.name, model.reserve(prompt, tools))
    end: Callable[[], Awaitable[None]] = account.release
    try:
        await anyio.lowlevel.checkpoint_if_cancelled()
        end = account.lose
        reply = await model.ask(prompt, tools, hear)
        end = partial(account.settle, model.name, reply.usage)
    except ModelFailure as failure:
        if not failure.paid:
            end = account.release
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await end()
    return reply
