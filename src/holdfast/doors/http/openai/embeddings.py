"""`/v1/embeddings`: texts as vectors, as numbers or packed."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any, cast

from holdfast.doors.http.errors import Unanswered
from holdfast.doors.http.sse import attended
from holdfast.ports.embedder import Embedded
from holdfast.ports.ledger import Payer
from holdfast.ports.model import ModelFailure
from holdfast.runtime import models

from . import fields as f
from .asked import Asked
from .errors import Wrong

_KNOWN = frozenset({"dimensions", "encoding_format", "input", "model", "user"})
_REFUSED = {"dimensions": "vectors are as long as their model makes them."}
_FORMS = (None, "float", "base64")


async def embed(asked: Asked) -> dict[str, Any]:
    body = asked.body
    f.check(body, _KNOWN, _REFUSED)
    name, texts, form = f.model(body), _texts(body.get("input")), body.get("encoding_format")
    if form not in _FORMS:
        raise Wrong("'encoding_format' must be float or base64.", param="encoding_format")
    payer = Payer(by=asked.by, role="embedder")

    async def work() -> Embedded:
        try:
            return await models.embed(asked.house, await _full(asked, name), texts, payer=payer)
        except ModelFailure as failure:
            raise Unanswered(failure) from failure

    made = await attended(asked.request.receive, work)
    vectors = map(_packed, made.vectors) if form == "base64" else made.vectors
    rows = [
        {"object": "embedding", "index": place, "embedding": vector}
        for place, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": made.usage.input, "total_tokens": made.usage.input}
    return {"object": "list", "data": rows, "model": made.model, "usage": usage}


async def _full(asked: Asked, name: str) -> str:
    """The name with its provider, where only one of ours ends so."""
    if "/" in name or name.startswith("@"):
        return name
    usual = models.roles(asked.house)["embedder"]
    if usual.endswith(f"/{name}"):
        return usual
    cards = await models.cards(asked.house, fresh=False)
    return next((card.name for card in cards if card.name.endswith(f"/{name}")), name)


def _texts(value: object) -> Sequence[str]:
    given = [value] if isinstance(value, str) else value
    items = cast("Sequence[object]", given) if isinstance(given, list) else ()
    if not items:
        raise Wrong("'input' must be a text or a list of texts.", param="input")
    if not all(isinstance(one, str) for one in items):
        hint = "send texts; in LangChain: check_embedding_ctx_length=False"
        raise Wrong("'input' must be texts: numbers of tokens differ.", param="input", hint=hint)
    return cast("Sequence[str]", items)


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
