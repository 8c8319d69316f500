"""The table of servers of tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.adapters.tools.mcp.address import near, place
from holdfast.config import load, to_servers
from holdfast.core.error import Invalid

COMMAND = 'command = ["git-server"]\n'


def loaded(home: Path, text: str):
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text)
    return load(environment={"HOLDFAST_HOME": str(home)})


def test_a_server_is_what_the_file_says(tmp_path: Path):
    """Part of rows KV-51, OK-138."""
    config = loaded(
        tmp_path,
        f'[mcp.servers.git]\n{COMMAND}effects = {{ "get_*" = "reads" }}\ntimeout_seconds = 5.0\n'
        'environment = { TOKEN = "$SECRET{git}" }\nreveal = ["git"]\nagents = ["crew-*"]\n'
        '[mcp.servers.far]\nurl = "https://mcp.example.com/mcp"\n'
        'headers = { Authorization = "Bearer $SECRET{far}" }\n',
    )
    git, far = to_servers(config)
    assert (git.name, git.command, git.seconds) == ("git", ("git-server",), 5.0)
    assert (dict(git.effects), git.agents, git.reveal) == (
        {"get_*": "reads"},
        ("crew-*",),
        ("git",),
    )
    assert (place(far), near(far)) == (("mcp.example.com", 443), False)
    assert far.prefix is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mcp.servers.lab]\n", "expected either command or url for lab"),
        (f"[mcp.servers.Lab]\n{COMMAND}", "expected a name like git"),
        ('[mcp.servers.lab]\nurl = "example.com"\n', "expected a url like https://"),
        (
            '[mcp.servers.lab]\nurl = "https://a.example"\nheaders = { X-Api-Key = "k" }\n',
            "expected $SECRET{name} in the header X-Api-Key of lab",
        ),
        (
            f'[mcp.servers.lab]\n{COMMAND}environment = {{ A = "$SECRET{{x}}" }}\n',
            "A of lab would show the secret x to its process",
        ),
        (f'[mcp.servers.lab]\n{COMMAND}effects = {{ a = "kills" }}\n', "reads"),
        (f"[mcp.servers.lab]\n{COMMAND}timeout_seconds = 0\n", "from 0.1"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_place(tmp_path: Path, text: str, words: str):
    with pytest.raises(Invalid) as told:
        loaded(tmp_path, text)
    assert words in str(told.value)
    assert "config.toml:" in str(told.value)
