"""`/v1/models`: the agents, and every plain model that is known here."""

from __future__ import annotations

from typing import Any

from holdfast.core.error import Invalid
from holdfast.doors.http.access import grant
from holdfast.runtime import models

from . import agents
from .asked import Asked
from .errors import NoSuchModel


async def listed(asked: Asked) -> dict[str, Any]:
    cards = await models.cards(asked.house, fresh=False)
    ours = agents.names(asked.house) if _may_use(asked) else ()
    names = (*ours, *(card.name for card in cards))
    return {"object": "list", "data": [_model(asked, name) for name in names]}


async def shown(asked: Asked) -> dict[str, Any]:
    """One model. One that no list has may be there all the same, if its provider is."""
    name = asked.request.path_params["id"]
    if name.startswith(agents.PREFIX):
        if name not in agents.names(asked.house) or not _may_use(asked):
            raise NoSuchModel(f"There is no agent {name!r}.")
        return _model(asked, name)
    try:
        return _model(asked, asked.house.models.find(name).name)
    except Invalid as error:
        raise NoSuchModel(str(error), hint=error.hint) from None


def _may_use(asked: Asked) -> bool:
    return grant(asked.request.scope).may_use(asked.house.agent.name)


def _model(asked: Asked, name: str) -> dict[str, Any]:
    owner = "holdfast" if name.startswith(agents.PREFIX) else name.partition("/")[0]
    created = asked.house.started_at // 1000
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
