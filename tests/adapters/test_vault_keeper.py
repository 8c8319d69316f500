"""Secrets on terms: who is granted one may use it so often and so long, and each use is on disk."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.vaults.files import FileVault
from holdfast.adapters.vaults.keeper import Keeper, KnownVault
from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.core.error import HoldfastError, Invalid, NotAllowed, NotFound, Refused
from holdfast.ports.secrets import Charset, Made, Terms
from holdfast.testing.fake_clock import FakeClock

VALUE = "canary-value-of-a-secret"
TERMS = Terms(grants=("writer", "crew-*"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def keeper(clock: FakeClock) -> Keeper:
    made = Keeper(MemoryVault(), clock.now)
    await made.put("github", VALUE, TERMS)
    return made


async def used(keeper: Keeper, agent: str = "writer", name: str = "github") -> str:
    return await keeper.use(name, agent=agent, task="task_1", tool="http")


async def refused(act: Awaitable[object], kind: type[HoldfastError] = NotAllowed) -> str:
    with pytest.raises(kind) as error:
        await act
    assert VALUE not in f"{error.value}{error.value.hint}"
    return error.value.code


async def test_who_is_granted_it_gets_the_value_and_nobody_else(keeper: Keeper):
    """Part of row OL-40."""
    assert await used(keeper) == await used(keeper, "crew-7") == VALUE
    for agent in ("reader", "", "writer2", "Writer"):
        assert await refused(used(keeper, agent)) == "secret_not_granted"
    assert await keeper.names("crew-1") == ["github"]
    assert await keeper.names("reader") == []


async def test_without_a_grant_nobody_may_use_it(keeper: Keeper):
    await keeper.put("own", VALUE)
    assert await refused(used(keeper, "default", "own")) == "secret_not_granted"


async def test_what_there_is_not_and_what_is_not_granted_look_alike(keeper: Keeper):
    await keeper.put("other", VALUE, Terms(grants=("admin",)))
    said = set[str]()
    for name in ("other", "nothing", "Bad Name", "provider/openai/api_key", "login/codex"):
        with pytest.raises(NotAllowed) as error:
            await used(keeper, name=name)
        said.add(str(error.value).replace(name, "NAME"))
    assert len(said) == 1


async def test_six_uses_in_a_minute_are_one_too_many(keeper: Keeper, clock: FakeClock):
    """Part of row OL-40."""
    for _ in range(5):
        assert await used(keeper) == VALUE
    assert await refused(used(keeper)) == "secret_rate"
    assert await used(keeper, "crew-1") == VALUE, "each agent has its own"
    clock.advance(60.001)
    assert await used(keeper) == VALUE


async def test_a_restart_does_not_begin_the_minute_anew(tmp_path: Path, clock: FakeClock):
    """Part of row OL-40."""
    first = Keeper(FileVault(tmp_path / "vault"), clock.now)
    await first.put("github", VALUE, TERMS)
    for _ in range(5):
        await used(first)
    again = Keeper(FileVault(tmp_path / "vault"), clock.now)
    assert await refused(used(again)) == "secret_rate"
    (row,) = await again.all()
    assert (row.uses, row.last_used) == (5, clock.now())


async def test_a_use_is_on_disk_before_the_value_is_given(clock: FakeClock):
    """Part of row OL-40."""

    class Full(MemoryVault):
        full = False

        def put(self, name: str, value: str) -> None:
            if self.full:
                raise OSError("no space left on device")
            super().put(name, value)

    vault = Full()
    keeper = Keeper(vault, clock.now)
    await keeper.put("github", VALUE, TERMS)
    vault.full = True
    with pytest.raises(OSError, match="no space"):
        await used(keeper)


async def test_it_ends_after_so_many_uses_and_at_its_time(keeper: Keeper, clock: FakeClock):
    await keeper.change("github", {"max_uses": 2, "per_minute": 0})
    assert [await used(keeper), await used(keeper)] == [VALUE, VALUE]
    assert await refused(used(keeper)) == "secret_used_up"
    await keeper.change("github", {"max_uses": 0, "expires_at": clock.now() + 10})
    assert await used(keeper) == VALUE
    clock.advance(0.01)
    assert await refused(used(keeper)) == "secret_expired"


async def test_every_use_is_listed_with_who_and_where(keeper: Keeper, clock: FakeClock):
    await used(keeper)
    clock.advance(1.0)
    await used(keeper, "crew-1")
    newest, oldest = await keeper.uses("github")
    assert (newest.agent, oldest.agent, oldest.task, oldest.tool) == (
        "crew-1",
        "writer",
        "task_1",
        "http",
    )
    assert newest.at == oldest.at + 1000


async def test_many_uses_at_once_are_all_counted(keeper: Keeper):
    await keeper.change("github", {"per_minute": 0})
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(60):
                group.start_soon(used, keeper)
    (row,) = await keeper.all()
    assert row.uses == 60
    assert len(await keeper.uses("github")) == 50, "the latest are kept"


async def test_a_new_value_keeps_its_terms_and_both_values_are_redacted(keeper: Keeper):
    await keeper.put("github", "another-canary-value")
    assert await used(keeper) == "another-canary-value"
    assert keeper.redact(f"{VALUE} another-canary-value") == "<<SECRET_github>> <<SECRET_github>>"


async def test_a_generated_one_is_as_asked_and_never_replaces(keeper: Keeper):
    """Part of row OL-109."""
    shapes: dict[Charset, str] = {
        "urlsafe": r"[A-Za-z0-9_-]{32}",
        "hex": r"[0-9a-f]{32}",
        "alphanumeric": r"[A-Za-z0-9]{32}",
    }
    for charset, shape in shapes.items():
        made = await keeper.generate(f"made/{charset}", Made(charset=charset), TERMS)
        assert not made.short
        value = await used(keeper, name=f"made/{charset}")
        assert re.fullmatch(shape, value)
        assert keeper.redact(value) == f"<<SECRET_made/{charset}>>"
    again = keeper.generate("github", Made())
    assert await refused(again, Refused) == "secret_exists"
    assert await refused(keeper.generate("new", Made(length=4)), Invalid) == "bad_secret"


@pytest.mark.parametrize(
    "name", ["provider/openai/api_key", "login/codex", "installation/host", "secret/x"]
)
async def test_what_is_the_house_s_own_cannot_be_reached_as_a_secret(clock: FakeClock, name: str):
    vault = MemoryVault()
    vault.put(name, VALUE)
    keeper = Keeper(vault, clock.now)
    acts: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: keeper.put(name, "x" * 10),
        lambda: keeper.generate(name, Made()),
        lambda: keeper.change(name, {"grants": ["*"]}),
        lambda: keeper.delete(name),
        lambda: keeper.uses(name),
    )
    for act in acts:
        assert await refused(act()) == "secret_of_the_house"
    assert vault.get(name) == VALUE
    assert await keeper.all() == []


async def test_the_house_s_own_secrets_are_redacted_from_the_moment_they_are_kept(clock: FakeClock):
    vault = MemoryVault()
    vault.put("provider/openai/api_key", VALUE)
    keeper = Keeper(vault, clock.now, [("OPENAI_API_KEY", "canary-of-a-variable")])
    keeper.load()
    assert keeper.redact(VALUE) == "<<SECRET_provider/openai/api_key>>"
    assert keeper.redact("canary-of-a-variable") == "<<SECRET_OPENAI_API_KEY>>"
    house = KnownVault(vault, keeper)
    house.put(
        "login/codex",
        '{"access":"canary-access-token","refresh":"canary-refresh-token","models":["a-model"]}',
    )
    house.put("provider/lab/server", '{"base_url":"http://lab.test/v1"}')
    said = keeper.redact("canary-access-token canary-refresh-token a-model http://lab.test/v1")
    assert said == "<<SECRET_login/codex>> <<SECRET_login/codex>> a-model http://lab.test/v1"


async def test_what_is_wrong_is_refused_without_telling_the_value(keeper: Keeper):
    for value in ("", "  ", "x" * 40_000):
        assert await refused(keeper.put("new", value), Invalid) == "bad_secret"
    assert await refused(keeper.put("Bad Name", VALUE), Invalid) == "bad_name"
    terms = Terms(per_minute=601)
    assert await refused(keeper.put("new", VALUE, terms), Invalid) == "bad_terms"
    assert await refused(keeper.change("new", {}), NotFound) == "secret_not_found"
    assert await refused(keeper.uses("new"), NotFound) == "secret_not_found"
    assert await keeper.delete("new") is False


async def test_a_value_too_short_to_be_recognised_is_said_to_be(keeper: Keeper):
    assert (await keeper.put("pin", "1234")).short
    assert not (await keeper.put("pin", "123456")).short
