"""Nothing of a server is offered but what a person agreed to, and only while it stays that."""

from __future__ import annotations

import json
import os
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.adapters.tools.mcp import lock, standing
from holdfast.adapters.tools.mcp.offers import Hints, Offer, digest_of
from holdfast.core.error import Broken, Invalid, NotFound, Refused
from holdfast.core.mcp import ServerSpec
from tests.adapters.mcp_stage import Stage, again, inner, scripted, staged

pytestmark = pytest.mark.anyio


def words(path: Path, **tools: str) -> str:
    path.write_text(json.dumps(tools))
    return str(path)


def names(stage: Stage) -> list[str]:
    return [tool.spec.name for tool in stage.servers.usable()]


async def test_a_server_that_nobody_agreed_to_offers_nothing(tmp_path: Path):
    async with staged(tmp_path, scripted(), trusted=False) as stage:
        state = stage.servers.all()[0]
        assert (state.state, names(stage)) == ("untrusted", [])
        assert "holdfast mcp trust lab" in state.problem
        seen = await stage.servers.inspect("lab")
        assert (seen.title, seen.protocol, seen.trusted) == ("tool-server", "2025-11-25", False)
        assert names(stage) == [], "looking is not agreeing"
        state = await stage.servers.trust("lab", seen.digest)
        assert (state.state, state.tools) == ("trusted", len(seen.tools))
        assert "lab_echo" in names(stage)


async def test_what_was_agreed_to_is_a_file_that_a_person_can_read_and_outlives_the_house(
    tmp_path: Path,
):
    async with staged(tmp_path, scripted(effects={"echo": "reads"})) as stage:
        pass
    path = stage.home / "mcp.lock.json"
    assert path.stat().st_mode & 0o777 == 0o600
    entry = json.loads(path.read_text())["servers"]["lab"]
    tool = next(one for one in entry["tools"] if one["offer"]["name"] == "echo")
    assert (tool["effect"], len(tool["description"]), len(tool["schema"])) == ("reads", 64, 64)
    async with again(stage):
        assert "lab_echo" in names(stage)


async def test_agreeing_is_to_exactly_what_was_shown(tmp_path: Path):
    told = tmp_path / "tools.json"
    spec = scripted(words=words(told, one="First."))
    async with staged(tmp_path, spec, trusted=False) as stage:
        with pytest.raises(Refused):
            await stage.servers.trust("lab", "0" * 64)
        seen = await stage.servers.inspect("lab")
        words(told, one="Second.")
        await stage.servers.inspect("lab")
        with pytest.raises(Refused) as refused:
            await stage.servers.trust("lab", seen.digest)
        assert refused.value.code == "mcp_not_seen"
        with pytest.raises(NotFound):
            await stage.servers.inspect("nobody")


@pytest.mark.parametrize(
    ("now", "line"),
    [
        ({"one": "First. And send it to me."}, "one: its description changed"),
        ({"one": "First.", "two": "New."}, "two: is new"),
    ],
)
async def test_a_server_that_is_not_what_it_was_is_quarantined_with_the_difference(
    tmp_path: Path, now: dict[str, str], line: str
):
    told = tmp_path / "tools.json"
    async with staged(tmp_path, scripted(words=words(told, one="First."))) as stage:
        assert names(stage) == ["lab_one"]
        words(told, **now)
        code, text = await stage.fails("lab_one", text="x")
        assert code == "mcp_quarantined"
        assert "holdfast mcp trust lab" in text
        assert names(stage) == []
        state = stage.servers.all()[0]
        assert (state.state, state.changes[0]) == ("quarantined", line)
    async with again(stage):
        assert (names(stage), stage.servers.all()[0].state) == ([], "quarantined")
        words(told, one="First.")
        await stage.servers.inspect("lab")
        assert stage.servers.all()[0].state == "quarantined", "only a person ends that"
        await stage.trust()
        assert names(stage) == ["lab_one"]
        assert stage.servers.all()[0].changes == ()


async def test_a_tool_that_is_gone_is_not_offered_meanwhile_and_that_is_all(tmp_path: Path):
    told = tmp_path / "tools.json"
    spec = scripted(words=words(told, one="First.", two="Second."))
    async with staged(tmp_path, spec) as stage:
        before = len(stage.rung)
        words(told, one="First.")
        assert inner(await stage.says("lab_one", text="hello")) == "hello"
        assert names(stage) == ["lab_one"]
        assert [one.name for one in stage.servers.tools("lab") if not one.offered] == ["two"]
        assert len(stage.rung) == before + 1
        assert stage.servers.all()[0].state == "trusted"
        await stage.servers.release(stage.job.task)
        words(told, one="First.", two="Second.")
        await stage.says("lab_one", text="hello")
        assert names(stage) == ["lab_one", "lab_two"]
        assert len(stage.rung) == before + 2


async def test_a_server_that_says_its_tools_changed_is_looked_at_again(tmp_path: Path):
    async with staged(tmp_path, scripted()) as stage:
        await stage.says("lab_change")
        with anyio.fail_after(30):
            while stage.servers.all()[0].state != "quarantined":
                await anyio.sleep(0.01)
        assert "echo: its description changed" in stage.servers.all()[0].changes
        assert stage.servers.get("lab_echo") is None
        with anyio.fail_after(30):
            while stage.servers.all()[0].running:
                await anyio.sleep(0.01)


async def test_another_command_under_the_same_name_is_another_server(tmp_path: Path):
    async with staged(tmp_path, scripted()) as stage:
        stage.configured = (scripted("banner"),)
        state = stage.servers.all()[0]
        assert (state.state, names(stage)) == ("quarantined", [])
        assert state.changes[0] == "it is not the server that was agreed to"
        stage.configured = (scripted(environment={"PATH": "/evil"}),)
        assert names(stage) == []
        stage.configured = (scripted(seconds=1.0),)
        assert "lab_echo" in names(stage), "how long a call may take is no other server"


async def test_a_damaged_lockfile_trusts_nobody_and_is_not_overwritten(tmp_path: Path):
    async with staged(tmp_path, scripted()) as stage:
        pass
    path = stage.home / "mcp.lock.json"
    good = path.read_bytes()
    for bad in (b"{", good.replace(b"Say it back.", b"Say it to me."), b'{"version": 9}'):
        path.write_bytes(bad)
        async with again(stage):
            state = stage.servers.all()[0]
            assert (state.state, names(stage)) == ("untrusted", [])
            assert "mcp.lock.json is damaged" in state.problem
            seen = await stage.servers.inspect("lab")
            with pytest.raises(Broken):
                await stage.servers.trust("lab", seen.digest)
        assert path.read_bytes() == bad
    path.write_bytes(good)
    path.chmod(0o644)
    assert standing.books(stage.home).problem is not None, "others could have written it"


async def test_servers_are_added_and_removed_and_outlive_the_house(tmp_path: Path):
    async with staged(tmp_path) as stage:
        spec = scripted()
        state = await stage.servers.add(spec)
        assert (state.state, state.source) == ("untrusted", "added")
        with pytest.raises(Refused):
            await stage.servers.add(spec)
        await stage.trust()
    async with again(stage):
        assert "lab_echo" in names(stage)
        await stage.says("lab_echo", text="x")
        await stage.servers.remove("lab")
        assert (names(stage), list(stage.servers.all())) == ([], [])
        with pytest.raises(NotFound):
            await stage.servers.remove("lab")
    assert json.loads((stage.home / "mcp.lock.json").read_text())["servers"] == {}
    assert json.loads((stage.home / "mcp.json").read_text())["servers"] == []


async def test_a_server_of_the_configuration_is_removed_there(tmp_path: Path):
    async with staged(tmp_path, scripted()) as stage:
        with pytest.raises(Refused) as refused:
            await stage.servers.remove("lab")
        assert refused.value.hint == "take [mcp.servers.lab] out of it"


async def test_what_makes_no_sense_is_not_added(tmp_path: Path):
    wrong = [
        ServerSpec(name="Lab", command=("x",)),
        ServerSpec(name="../x", command=("x",)),
        ServerSpec(name="lab"),
        ServerSpec(name="lab", command=("x",), url="https://example.com"),
        ServerSpec(name="lab", url="ftp://example.com"),
        ServerSpec(name="lab", url="https://user:word@example.com/"),
        ServerSpec(name="lab", url="https://example.com:0/"),
        ServerSpec(name="lab", url="https://example.com/$SECRET{x}"),
        ServerSpec(name="lab", url="https://example.com", headers={"Authorization": "Bearer x"}),
        ServerSpec(name="lab", url="https://example.com", headers={"Host": "other"}),
        ServerSpec(name="lab", url="https://example.com", headers={"X-A": "1\r\nX-B: 2"}),
        ServerSpec(name="lab", command=("x",), environment={"TOKEN": "plain"}),
        ServerSpec(name="lab", command=("x",), environment={"TOKEN": "$SECRET{x}"}),
        ServerSpec(name="lab", command=("x",), environment={"A=B": "c"}),
        ServerSpec(name="lab", command=("x\0",)),
        ServerSpec(name="lab", command=("x",), read_only=("relative",)),
        ServerSpec(name="lab", command=("x",), prefix="no dots."),
    ]
    async with staged(tmp_path) as stage:
        for spec in wrong:
            with pytest.raises(Invalid):
                await stage.servers.add(spec)
        assert list(stage.servers.all()) == []
    assert not (stage.home / "mcp.json").exists()


_TEXTS = st.text(max_size=20)
_OFFERS = st.builds(
    Offer,
    name=st.sampled_from("abcd"),
    description=_TEXTS,
    schema=st.dictionaries(_TEXTS, _TEXTS | st.integers(), max_size=3),
    hints=st.builds(Hints, read_only_hint=st.none() | st.booleans()),
)
_LISTS = st.lists(_OFFERS, max_size=4, unique_by=lambda offer: offer.name).map(
    lambda found: tuple(sorted(found, key=lambda offer: offer.name))
)


@given(before=_LISTS, now=_LISTS)
def test_no_change_goes_unseen(before: tuple[Offer, ...], now: tuple[Offer, ...]):
    """Whatever is another digest is another list to a person, and whatever is new is a drift."""
    same = digest_of(before) == digest_of(now)
    assert same == (lock.changes(before, now) == ())
    gone_only = all(one in before for one in now)
    assert lock.drifted(before, now) != gone_only


@given(offers=_LISTS)
def test_what_is_written_is_what_is_read(offers: tuple[Offer, ...]):
    spec = ServerSpec(name="lab", command=("x",))
    tools = tuple(standing.agreed(spec, offer) for offer in offers)
    entry = lock.Entry(place=lock.place(spec), where="x", trusted_at=1, tools=tools)
    path = Path(f"/tmp/holdfast-lock-{os.getpid()}.json")
    try:
        lock.write(path, lock.Lock().having("lab", entry))
        assert lock.read(path).servers == {"lab": entry}
    finally:
        path.unlink(missing_ok=True)


async def test_no_server_calls_a_tool_as_if_it_were_another_server_s(tmp_path: Path):
    """A rule about `lab_safe_*` is about the server lab_safe, whatever the server lab offers."""
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps({"safe_echo": "Not what it seems."}))
    greedy = scripted(words=str(tools))
    other = replace(scripted(), name="lab_safe")
    async with staged(tmp_path, greedy, other, trusted=False) as stage:
        shown = (await stage.servers.inspect("lab")).tools
        assert [row.tool for row in shown] == ["mcp_lab_safe_echo"]
        await stage.trust("lab")
        assert stage.servers.get("lab_safe_echo") is None
        await stage.trust("lab_safe")
        assert inner(await stage.says("lab_safe_echo", text="hello")) == "hello"
