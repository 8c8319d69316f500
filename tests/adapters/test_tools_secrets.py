"""The tools about secrets: an agent learns names, makes new ones, and never sees a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.tools.secrets import secret_tools
from holdfast.adapters.vaults.keeper import Keeper
from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import EffectClass, Failed, Outcome, Returned
from holdfast.ports.secrets import Terms
from holdfast.ports.tools import Job
from holdfast.testing.fake_clock import FakeClock

pytestmark = pytest.mark.anyio
VALUE = "canary-0123456789"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def keeper() -> Keeper:
    made = Keeper(MemoryVault(), FakeClock().now)
    await made.put("github", VALUE, Terms(grants=("writer",)))
    await made.put("mail/password", VALUE, Terms(grants=("*",)))
    await made.put("other", VALUE)
    return made


async def run(keeper: Keeper, tool_name: str, by: str = "writer", /, **arguments: Any) -> Outcome:
    tool = next(one for one in secret_tools(keeper) if one.spec.name == tool_name)
    if problem := tool.problem(arguments):
        return Failed(text=problem)
    job = Job(task=TaskId("task_1"), call=CallId("c1"), workspace=Path("/work"), agent=by)
    outcome = await tool.run(arguments, job)
    assert isinstance(outcome, Returned | Failed)
    assert VALUE not in outcome.text
    return outcome


async def test_an_agent_is_told_the_references_that_it_may_use(keeper: Keeper):
    """Row OC-31. Part of row OL-109."""
    told = await run(keeper, "secret_list")
    assert told == Returned(text="$SECRET{github}\n$SECRET{mail/password}")
    assert await run(keeper, "secret_list", "reader") == Returned(text="$SECRET{mail/password}")


async def test_whether_there_is_one_is_told_only_to_who_may_use_it(keeper: Keeper):
    """Part of row OC-30."""
    assert await run(keeper, "secret_exists", name="github") == Returned(
        text="yes: $SECRET{github}"
    )
    no = Returned(text="no, or you may not use it")
    assert await run(keeper, "secret_exists", "reader", name="github") == no
    assert await run(keeper, "secret_exists", name="other") == no
    assert await run(keeper, "secret_exists", name="nothing") == no


async def test_one_is_made_for_the_agent_that_asks_and_only_its_handle_comes_back(keeper: Keeper):
    """Part of row OL-109."""
    made = await run(keeper, "secret_generate", name="db", length=40, charset="hex")
    assert made == Returned(text="$SECRET{db}")
    value = await keeper.use("db", agent="writer", task="t", tool="http")
    assert (len(value), set(value) <= set("0123456789abcdef")) == (40, True)
    assert "db" not in await keeper.names("reader")
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"name": "db"}, "secret_exists"),
        ({"name": "other"}, "secret_exists"),
        ({"name": "provider/openai/api_key"}, "secret_of_the_house"),
        ({"name": "Not A Name"}, "bad_name"),
        ({"name": "x", "length": 3}, "error"),
        ({"name": "x", "charset": "emoji"}, "error"),
    )
    for arguments, code in wrong:
        refused = await run(keeper, "secret_generate", **arguments)
        assert isinstance(refused, Failed)
        assert refused.code == code


async def test_what_they_say_of_themselves(keeper: Keeper):
    effects = {tool.spec.name: tool.traits.effect for tool in secret_tools(keeper)}
    assert effects == {
        "secret_list": EffectClass.READS,
        "secret_exists": EffectClass.READS,
        "secret_generate": EffectClass.WRITES,
    }
    assert all(not tool.traits.secrets for tool in secret_tools(keeper))
