"""What people keep in files of permissions elsewhere, said in a policy and asked at the door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.core.context import Prompt
from holdfast.core.message import Reply
from tests.whole_house import Inhabited, inhabited

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]


def done(_: Prompt) -> Reply:
    return Reply(text="done")


async def said(lives: Inhabited, tool: str, *words: str, **more: Any) -> str:
    """What the policy says of a call."""
    body = {"tool": tool, "words": list(words), **more}
    answer = await lives.local.post("/api/v1/policy/explain", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["verdict"]["say"])


async def tools_of(home: Path) -> list[str]:
    """Every tool that a house has by itself."""
    async with inhabited(home, done) as lives:
        return sorted(tool.spec.name for tool in lives.house.tools.all())


async def test_a_file_of_the_policy_says_hosts_paths_tools_and_who(tmp_path: Path):
    """Hosts exactly or by suffix, paths with links followed, tools; a list that is not there allows
    nothing. This machine is beyond reach whatever a rule says, until its address is named in the
    way out. Row GC-89a.
    """
    home = tmp_path / "home"
    (work := home / "workspace").mkdir(parents=True)
    (work / "docs").mkdir()
    (work / "docs" / "way_out").symlink_to("../private")
    (work / "private").mkdir()
    policy = """
    preset = "nothing"
    [[rule]]
    say = "allow"
    tools = ["web_fetch", "http"]
    hosts = ["docs.example", "*.example.com"]
    methods = ["GET", ""]
    [[rule]]
    say = "allow"
    tools = ["read", "list"]
    paths = ["docs"]
    """
    home.mkdir(exist_ok=True)
    (home / "policy.toml").write_text(policy)
    async with inhabited(home, done) as lives:
        for url, wanted in (
            ("https://docs.example/x", "allow"),
            ("https://api.example.com/", "allow"),
            ("https://example.com/", "deny"),
            ("https://docs.example.evil.test/", "deny"),
            ("http://127.0.0.1/", "deny"),
        ):
            assert await said(lives, "web_fetch", url) == wanted, url
        post = await said(lives, "http", "https://docs.example/", method="POST")
        assert post == "deny"
        for path, wanted in (
            ("docs", "allow"),
            ("docs/deep/in.md", "allow"),
            ("docs2/x", "deny"),
            ("docs/../private/x", "deny"),
            ("docs/way_out/x", "deny"),
            ("/etc/passwd", "deny"),
        ):
            assert await said(lives, "read", path) == wanted, path
        for tool in ("exec", "write", "delegate"):
            assert await said(lives, tool) == "deny", tool


async def test_every_tool_is_a_permission_of_its_own_for_every_agent(tmp_path: Path):
    """Files, commands, the browser act by act, the web, helpers, secrets, money, questions: who has
    a rule for one has this one; an agent that nobody has thought of has what is for all.

    Rows OL-21 and OL-24.
    """
    names = await tools_of(tmp_path / "empty")
    assert {"exec", "browser_click", "web_fetch", "delegate", "secret_generate"} <= set(names)
    rules = "".join(
        f'[[rule]]\nsay = "allow"\nagents = ["only-{one}"]\ntools = ["{one}"]\n'
        f'[[rule]]\nsay = "deny"\nagents = ["but-{one}"]\ntools = ["{one}"]\n'
        for one in names
    )
    more = (
        '[[rule]]\nsay = "allow"\nagents = ["but-*"]\n[[rule]]\nsay = "allow"\ntools = ["time"]\n'
    )
    (home := tmp_path / "home").mkdir()
    (home / "policy.toml").write_text(f'preset = "nothing"\n{rules}{more}')
    async with inhabited(home, done) as lives:
        for tool in names:
            found = {other: await said(lives, other, agent=f"only-{tool}") for other in names}
            allowed = {name for name, verdict in found.items() if verdict == "allow"}
            assert allowed == {tool, "time"}, tool
            assert await said(lives, tool, agent=f"but-{tool}") == "deny", tool
            other = "time" if tool != "time" else "read"
            assert await said(lives, other, agent=f"but-{tool}") == "allow", tool
            unknown = await said(lives, tool, agent="nobody-thought-of")
            assert unknown == ("allow" if tool == "time" else "deny"), tool


async def test_patterns_are_exact_or_globs_and_nobody_always_passes(tmp_path: Path):
    """`*` crosses `/`; a name without signs of a pattern is only itself; and no name of the house's
    own is let through. Row OL-22."""
    (home := tmp_path / "home").mkdir()
    policy = """
    preset = "nothing"
    [[rule]]
    say = "allow"
    tools = ["write"]
    paths = ["context/prospect_*"]
    [[rule]]
    say = "allow"
    agents = ["sales"]
    tools = ["read"]
    """
    (home / "policy.toml").write_text(policy)
    async with inhabited(home, done) as lives:
        for path, wanted in (
            ("context/prospect_acme", "allow"),
            ("context/prospect_acme/notes/1", "allow"),
            ("context/other", "deny"),
            ("Context/prospect_acme", "deny"),
        ):
            assert await said(lives, "write", path) == wanted, path
        for agent, wanted in (
            ("sales", "allow"),
            ("sales2", "deny"),
            ("Sales", "deny"),
            *((name, "deny") for name in ("house", "system", "default", "mesh", "*", "")),
        ):
            assert await said(lives, "read", "a", agent=agent) == wanted, agent


async def test_at_the_first_start_nothing_acts_without_a_person(tmp_path: Path):
    """Without any file: files and the web may be read; whatever changes or runs something asks,
    and is denied where nobody is there to ask. Row GC-89c."""
    async with inhabited(tmp_path / "home", done) as lives:
        for tool, words in (
            ("read", "a"),
            ("web_search", "x"),
            ("web_fetch", "https://a.example/"),
        ):
            assert await said(lives, tool, words) == "allow", tool
        for tool, words in (("exec", "ls"), ("write", "a"), ("browser_click", "")):
            assert await said(lives, tool, words) == "ask", tool
            assert await said(lives, tool, words, unattended=True) == "deny", tool
        shown = (await lives.local.get("/api/v1/policy")).json()
        assert (shown["preset"], shown["rules"]) == ("ask", [])
