"""What may stand in the description of a server of tools: each mistake is said, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.core.gate.servers import problems
from holdfast.core.mcp import LoginSpec, ServerSpec

RUN = ServerSpec(name="git", command=("git-server",))
FAR = ServerSpec(name="far", url="https://mcp.example.com/mcp")
SECRET = "$SECRET{far}"


def wrong(spec: ServerSpec, **changed: Any) -> str:
    """All that is wrong, as one text; empty: nothing."""
    return "; ".join(problems(replace(spec, **changed)))


def login(**told: Any) -> str:
    return wrong(FAR, login=LoginSpec(**told))


@pytest.mark.parametrize(
    ("spec", "changed"),
    [
        (RUN, {}),
        (RUN, {"name": "a" * 32, "prefix": ""}),
        (RUN, {"prefix": "a-Z_9" * 8, "read_only": ("/opt/a", "/opt/b")}),
        (RUN, {"environment": {"A": "b", "TOKEN": SECRET}, "reveal": ("far",), "shared": True}),
        (RUN, {"environment": {"A": "plain"}, "command": ("a", "", "b")}),
        (FAR, {}),
        (FAR, {"url": "http://127.0.0.1:8080/x", "private": True}),
        (FAR, {"url": "https://[::1]:1/"}),
        (FAR, {"headers": {"X-Team": "a b", "Authorization": f"Bearer {SECRET}"}}),
        (FAR, {"headers": {"X-Team": "a"}, "login": LoginSpec(scopes=("read",))}),
        (FAR, {"headers": {"Authorization": SECRET}}),
        (FAR, {"login": LoginSpec(client_id="us", client_secret=SECRET)}),
        (FAR, {"login": LoginSpec(client_id="us", client_key=SECRET, grant="own")}),
        (FAR, {"login": LoginSpec(client_id="us", client_secret=SECRET, grant="own")}),
        (FAR, {"login": LoginSpec(document="https://a.example/us.json")}),
        (FAR, {"login": LoginSpec(redirect="http://127.0.0.1:7898/back")}),
        (FAR, {"login": LoginSpec(scopes=("read", "write:all"))}),
    ],
)
def test_nothing_is_wrong_with_what_makes_sense(spec: ServerSpec, changed: dict[str, Any]):
    assert wrong(spec, **changed) == ""


@pytest.mark.parametrize(
    ("spec", "changed", "said"),
    [
        (RUN, {"name": "Git"}, "expected a name like git or our-tickets"),
        (RUN, {"name": "a" * 33}, "expected a name like git or our-tickets"),
        (RUN, {"url": FAR.url}, "expected either command or url"),
        (RUN, {"command": ()}, "expected either command or url for git"),
        (RUN, {"prefix": "a b"}, "expected a prefix"),
        (RUN, {"read_only": ("/a", "b")}, "expected absolute paths"),
        (RUN, {"command": ("a", "b\0")}, "expected words in the command"),
        (RUN, {"command": ("", "b")}, "expected words in the command"),
        (RUN, {"headers": {"A": "b"}}, "headers, private and login are for a url"),
        (RUN, {"private": True}, "headers, private and login are for a url"),
        (RUN, {"login": LoginSpec(client_id="x")}, "headers, private and login are for a url"),
        (RUN, {"environment": {"1A": "b"}}, "'1A' is no variable"),
        (RUN, {"environment": {"A": "b\0"}}, "'A' is no variable"),
        (RUN, {"environment": {"MY_TOKEN": "plain"}}, "in MY_TOKEN of git: it is a key"),
        (RUN, {"environment": {"A": SECRET}}, "would show the secret far to its process"),
        (FAR, {"url": "https://MCP.example.com/"}, "expected a url like"),
        (FAR, {"url": "ftp://mcp.example.com/"}, "expected a url like"),
        (FAR, {"url": "https://a.example:0/"}, "expected a url like"),
        (FAR, {"url": "https://:80/"}, "expected a url like"),
        (FAR, {"url": "https://ann@a.example/"}, "expected a url like"),
        (FAR, {"url": "https://[::1/"}, "expected a url like"),
        (FAR, {"url": "https://a.example:99999/"}, "expected a url like"),
        (FAR, {"url": "https://a.example/$SECRET{x}"}, "expected no secret in the url"),
        (FAR, {"environment": {"A": "b"}}, "are for a command"),
        (FAR, {"reveal": ("a",)}, "are for a command"),
        (FAR, {"read_only": ("/a",)}, "are for a command"),
        (FAR, {"shared": True}, "are for a command"),
        (FAR, {"headers": {"A B": "c"}}, "'A B' is no header that can be put in"),
        (FAR, {"headers": {"Host": "c"}}, "'Host' is no header that can be put in"),
        (FAR, {"headers": {"A": "c\n"}}, "expected plain text and $SECRET{name} in the header A"),
        (FAR, {"headers": {"A": "$SECRET{"}}, "expected plain text and $SECRET{name}"),
        (FAR, {"headers": {"X-Api-Key": "k"}}, "in the header X-Api-Key of far: it is a key"),
    ],
)
def test_a_mistake_is_said_once(spec: ServerSpec, changed: dict[str, Any], said: str):
    told = list(problems(replace(spec, **changed)))
    assert len(told) == 1, told
    assert said in told[0]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"client_id": "us", "client_secret": "plain"}, "expected $SECRET{name} in client_secret"),
        ({"client_secret": SECRET}, "expected $SECRET{name} in client_secret"),
        ({"client_id": "us", "client_key": "plain"}, "expected $SECRET{name} in client_key"),
        ({"client_id": "us", "grant": "own"}, "expected either client_secret or client_key"),
        ({"document": "http://a.example/us.json"}, "expected an https address in document"),
        ({"redirect": "http://a.example/back"}, "expected a redirect like"),
        ({"scopes": ("read", "two words")}, "expected words without spaces in scopes"),
    ],
)
def test_a_mistake_in_a_login_is_said_once(told: dict[str, Any], said: str):
    assert said in login(**told)
    assert "; " not in login(**told)


def test_a_login_has_one_key_and_no_other_beside_it():
    both = {"client_id": "us", "client_secret": SECRET, "client_key": SECRET}
    assert login(**both) == "expected either client_secret or client_key for far"
    assert login(**both, grant="own") == "expected either client_secret or client_key for far"
    beside = wrong(FAR, login=LoginSpec(client_id="us"), headers={"authorization": SECRET})
    assert beside == "expected either a login or a header Authorization for far"
