"""Secrets in tasks: filled in by the last step, told to nobody, and never in what is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.adapters.vaults.keeper import Keeper
from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.core.error import Invalid
from holdfast.core.event import CallSettled, CallStarted, Event, encode
from holdfast.core.message import Failed, Outcome, Reply, Returned, Thought
from holdfast.core.task import Status, Task, Wait
from holdfast.ports.secrets import Terms
from holdfast.ports.tools import Job
from holdfast.testing.engine import Answer, ObedientModel, ObedientTool, calls, engine
from holdfast.testing.fake_clock import FakeClock

VALUE = "canary-7h3-s3cr3t"
END = (Status.SUCCEEDED, Status.FAILED)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


async def keeper(*agents: str, value: str = VALUE) -> Keeper:
    made = Keeper(MemoryVault(), FakeClock().now)
    await made.put("github", value, Terms(grants=agents))
    return made


class Ended:
    """A task at its end, and everything that anybody saw of it."""

    def __init__(self, task: Task, events: list[Event], model: ObedientModel) -> None:
        self.task, self.events, self.model = task, events, model

    @property
    def started(self) -> list[tuple[str, ...]]:
        return [one.secrets for one in self.events if isinstance(one, CallStarted)]

    @property
    def outcomes(self) -> list[Outcome]:
        return [one.outcome for one in self.events if isinstance(one, CallSettled)]

    def said(self) -> bytes:
        prompts = msgspec.json.encode(self.model.prompts)
        return b"".join(map(encode, self.events)) + prompts


async def worked(
    secrets: Keeper | None, tool: ObedientTool, *says: Answer, prompt: str = "do it"
) -> Ended:
    model = ObedientModel([*says, "done"])
    async with engine(MemoryJournal(), model, tool, secrets=secrets) as e:
        task = await e.until(await e.submit(prompt), *END)
        return Ended(task, await e.events(task.id), model)


async def test_a_reference_becomes_the_value_in_the_tool_and_nowhere_else():
    """Row OC-30. Part of rows OL-40, OC-95."""
    tool = ObedientTool(name="http", secrets=("headers", "body"))
    tool.act = lambda given: Returned(text=f"sent {given['headers']['Authorization']}")
    arguments = {"headers": {"Authorization": "Bearer $SECRET{github}"}, "body": "none"}
    ended = await worked(await keeper("default"), tool, calls(("http", arguments)))
    assert tool.ran == [{"headers": {"Authorization": f"Bearer {VALUE}"}, "body": "none"}]
    assert [job.secrets for job in tool.jobs] == [("github",)], "the tool knows what it was given"
    assert ended.started == [("github",)], "which secrets it was given is recorded before the act"
    assert ended.outcomes == [Returned(text="sent Bearer <<SECRET_github>>")]
    assert b"$SECRET{github}" in ended.said()
    assert VALUE.encode() not in ended.said()


class Listening(ObedientTool):
    """Remembers which secrets it was told of."""

    told: tuple[str, ...] = ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        self.told = job.secrets
        return await super().run(arguments, job)


async def test_a_tool_is_told_which_secrets_its_arguments_hold():
    tool = Listening(name="http", secrets=("body",))
    await worked(await keeper("default"), tool, calls(("http", {"body": "$SECRET{github}"})))
    assert tool.told == ("github",)


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": "curl -H 'Authorization: $SECRET{github}'"},
        {"headers": "ok", "body": ["$SECRET{github}"]},
        {"headers": {"$SECRET{github}": "x"}},
        {"headersx": "$SECRET{github}"},
        {"body": {"headers": "$SECRET{github}"}},
    ],
)
async def test_anywhere_else_it_is_refused_and_the_tool_does_not_run(arguments: Mapping[str, Any]):
    secrets = await keeper("default")
    tool = ObedientTool(name="exec", secrets=("headers",))
    ended = await worked(secrets, tool, calls(("exec", arguments)))
    assert tool.ran == []
    (outcome,) = ended.outcomes
    assert isinstance(outcome, Failed)
    assert outcome.code == "secret_not_here"
    assert "filled in only in headers" in outcome.text
    assert (await secrets.all())[0].uses == 0


async def test_a_tool_that_declares_none_gets_none():
    tool = ObedientTool(name="exec")
    ended = await worked(await keeper("*"), tool, calls(("exec", {"command": "$SECRET{github}"})))
    assert [one.code for one in ended.outcomes if isinstance(one, Failed)] == ["secret_not_here"]
    assert tool.ran == []


@pytest.mark.parametrize(
    ("granted", "name", "code"),
    [
        ("nobody", "github", "secret_not_granted"),
        ("default", "gitlab", "secret_not_granted"),
        ("default", "provider/openai/api_key", "secret_not_granted"),
        ("default", "Not-A-Name", "secret_not_granted"),
    ],
)
async def test_what_may_not_be_used_is_told_to_the_model(granted: str, name: str, code: str):
    tool = ObedientTool(name="http", secrets=("body",))
    wanted = calls(("http", {"body": f"$SECRET{{{name}}}"}))
    ended = await worked(await keeper(granted), tool, wanted)
    assert [one.code for one in ended.outcomes if isinstance(one, Failed)] == [code]
    assert tool.ran == []


async def test_the_sixth_use_in_a_minute_is_refused():
    """Row OL-40."""
    tool = ObedientTool(name="http", secrets=("body",))
    ask = [calls(("http", {"body": f"{n} $SECRET{{github}}"})) for n in range(6)]
    ended = await worked(await keeper("default"), tool, *ask)
    assert len(tool.ran) == 5
    last = ended.outcomes[-1]
    assert isinstance(last, Failed)
    assert last.code == "secret_rate"


async def test_without_a_vault_nothing_is_filled_in():
    tool = ObedientTool(name="http", secrets=("body",))
    ended = await worked(None, tool, calls(("http", {"body": "$SECRET{github}"})))
    assert [one.code for one in ended.outcomes if isinstance(one, Failed)] == ["no_secrets"]


async def test_what_an_error_quotes_is_redacted():
    def fail(given: Mapping[str, Any]) -> Outcome:
        raise ValueError(f"cannot send {given['body']!r}")

    tool = ObedientTool(name="http", act=fail, secrets=("body",))
    ended = await worked(
        await keeper("default"), tool, calls(("http", {"body": "$SECRET{github}"}))
    )
    assert ended.outcomes == [
        Failed(text="ValueError: cannot send '<<SECRET_github>>'", code="tool_error")
    ]


async def test_what_a_person_pastes_is_redacted_before_it_is_recorded():
    """Part of rows OK-106, OC-95."""
    tool = ObedientTool(name="http", secrets=("body",))
    ended = await worked(await keeper("default"), tool, prompt=f"log in with {VALUE}, please")
    assert ended.task.request.prompt == "log in with <<SECRET_github>>, please"
    assert VALUE.encode() not in ended.said()


async def test_what_a_model_says_is_redacted_with_the_arguments_of_its_calls():
    tool = ObedientTool(name="write")
    ended = await worked(
        await keeper(), tool, calls(("write", {"text": f"key={VALUE}"})), f"it is {VALUE}"
    )
    assert tool.ran == [{"text": "key=<<SECRET_github>>"}]
    assert ended.task.answer == "it is <<SECRET_github>>"
    assert VALUE.encode() not in ended.said()


async def test_what_a_model_thinks_is_kept_apart_and_redacted():
    """Row OC-62."""
    thinks = Reply(text="done", thoughts=(Thought(text=f"the key {VALUE} will do"),))
    ended = await worked(await keeper(), ObedientTool(name="write"), thinks)
    assert ended.task.answer == "done"
    assert b"the key <<SECRET_github>> will do" in ended.said()
    assert VALUE.encode() not in ended.said()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    value=st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=60).filter(
        lambda v: len(v.strip()) >= 6
    ),
    before=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    after=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
async def test_for_any_secret_and_any_output_the_journal_never_has_it(
    value: str, before: str, after: str
):
    """Part of row OC-95."""
    tool = ObedientTool(name="http", secrets=("body",))
    tool.act = lambda given: Returned(text=f"{before}{given['body']}{after}")
    secrets = await keeper("default", value=value)
    try:
        ended = await worked(
            secrets, tool, calls(("http", {"body": "$SECRET{github}"})), prompt=before + value
        )
    except Invalid:
        return
    texts = [one.text for one in ended.outcomes if isinstance(one, Returned)]
    assert all(value.strip() not in text for text in [*texts, ended.task.request.prompt])
