"""One paid try of one model: what is held is ended exactly once, whatever happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import anyio
import anyio.lowlevel

from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.message import Reply
from holdfast.ports.embedder import Embedded
from holdfast.ports.model import Account, Delta, Model, ModelFailure, ToolSpec

Counted = TypeVar("Counted", Reply, Embedded)


async def asked(
    model: Model,
    prompt: Prompt,
    tools: tuple[ToolSpec, ...],
    hear: Callable[[Delta], None],
    account: Account,
) -> Reply:
    """The reply of `model`, paid for."""
    ask = partial(model.ask, prompt, tools, hear)
    return await paid(model.name, model.reserve(prompt, tools), ask, account)


async def paid(
    model: str, most: Reservation, ask: Callable[[], Awaitable[Counted]], account: Account
) -> Counted:
    """What `ask` gives: held on `account` before it is sent, settled after.

    Waiting for money may be cancelled; what is held is then ended, whatever happens.
    """
    await account.hold(model, most)
    end: Callable[[], Awaitable[None]] = account.release
    try:
        await anyio.lowlevel.checkpoint_if_cancelled()
        end = account.lose
        answer = await ask()
        end = partial(account.settle, model, answer.usage)
    except ModelFailure as failure:
        if not failure.paid:
            end = account.release
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await end()
    return answer
