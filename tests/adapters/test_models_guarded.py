"""Between the house and its models: known secrets pass in neither direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.adapters.models.guarded import GuardedEmbedder, GuardedModels
from holdfast.adapters.models.scripted import OneModel
from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.message import PersonSaid, Reply, Try
from holdfast.core.patterns import Disguise
from holdfast.core.redact import Redactor
from holdfast.ports.model import Delta, ModelFailure, ToolSpec
from holdfast.testing.fake_embedder import FakeEmbedder
from tests.adapters.payers import Book

pytestmark = pytest.mark.anyio
SECRET = "canary-0123456789"
KEY = "sk-" + "Ab1" * 10
KNOWN = Redactor([("github", SECRET)])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Talker:
    """A model that says pieces, and keeps what it was shown."""

    name, window = "fake/talker", 0

    def __init__(self, *pieces: Delta, failure: ModelFailure | None = None) -> None:
        self.pieces, self.failure = pieces, failure
        self.shown: list[Prompt] = []
        self.odds: tuple[dict[str, Any], ...] = ()

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        return Reservation()

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        self.shown.append(prompt)
        for piece in self.pieces:
            hear(piece)
        if self.failure:
            raise self.failure
        text = "".join(piece.text for piece in self.pieces)
        return Reply(text=text, logprobs=self.odds)


async def answered(
    model: Talker, *, says: str = "hello", disguise: Disguise | None = None
) -> tuple[Reply, list[Delta]]:
    heard: list[Delta] = []
    prompt = Prompt(system=says, entries=(PersonSaid(text=says),), saw=1)
    guarded = GuardedModels(OneModel(model), lambda: KNOWN, disguise)
    return await guarded.answer("", prompt, (), heard.append, Book()), heard


async def test_a_model_is_shown_the_name_of_a_secret_in_its_place():
    """Part of row OK-106."""
    model = Talker()
    await answered(model, says=f"my key: {SECRET}")
    (shown,) = model.shown
    assert shown.system == "my key: <<SECRET_github>>"
    assert SECRET not in repr(shown)


async def test_what_it_says_is_redacted_however_it_is_cut():
    for size in (1, 2, 5, 100):
        text = f"it is {SECRET}, I think"
        pieces = [Delta(text=text[at : at + size]) for at in range(0, len(text), size)]
        reply, heard = await answered(Talker(*pieces))
        assert reply.text == "it is <<SECRET_github>>, I think"
        assert "".join(one.text for one in heard) == reply.text
        assert not any("canary" in one.text for one in heard)


async def test_thoughts_are_redacted_and_a_reset_forgets_what_was_held():
    model = Talker(
        Delta(thought="it is canary-01234"),
        Delta(thought="56789!"),
        Delta(text="canary-0123"),
        Delta(reset=True, model="m"),
        Delta(text="456789 again"),
    )
    _, heard = await answered(model)
    assert "".join(one.thought for one in heard) == "it is <<SECRET_github>>!"
    assert "".join(one.text for one in heard) == "456789 again"
    assert [one.reset for one in heard].count(True) == 1


async def test_a_failure_that_quotes_one_is_redacted():
    tried = (Try(model="m", reason=f"bad key {SECRET}"),)
    failure = ModelFailure("auth", f"bad key {SECRET}", retryable=False)
    failure.tried = tried
    with pytest.raises(ModelFailure) as failed:
        await answered(Talker(failure=failure))
    assert str(failed.value) == "bad key <<SECRET_github>>"
    assert failed.value.tried[0].reason == "bad key <<SECRET_github>>"


async def test_what_looks_like_one_is_hidden_from_the_model_and_put_back_for_the_person():
    """Row OK-106."""
    mask = Disguise(b"k" * 32)
    placeholder = mask.masked(KEY)
    pieces = [Delta(text=one) for one in f"I took {placeholder}."]
    model = Talker(*pieces)
    reply, heard = await answered(model, says=f"use {KEY}", disguise=mask)
    assert KEY not in repr(model.shown)
    assert model.shown[0].system == f"use {placeholder}"
    assert reply.text == f"I took {KEY}."
    assert "".join(one.text for one in heard) == f"I took {KEY}."


async def test_what_is_turned_into_vectors_is_redacted():
    embedder = FakeEmbedder()
    guarded = GuardedEmbedder(embedder, lambda: KNOWN)
    ours = await guarded.embed("", [f"a {SECRET}"], Book())
    theirs = await embedder.embed("", ["a <<SECRET_github>>"], Book())
    assert ours.vectors == theirs.vectors


async def test_what_was_taken_out_of_a_text_is_not_told_token_by_token() -> None:
    odds = tuple({"token": token, "logprob": -0.1} for token in ("canary-", "0123456789"))
    for text, told in ((f"it is {SECRET}", ()), ("it is nothing", odds)):
        model = Talker(Delta(text=text))
        model.odds = odds
        guarded = GuardedModels(OneModel(model), lambda: KNOWN)
        prompt = Prompt(system="", entries=(PersonSaid(text="hello"),), saw=1)
        reply = await guarded.answer("", prompt, (), lambda _: None, Book())
        assert reply.logprobs == told
        assert SECRET not in reply.text
