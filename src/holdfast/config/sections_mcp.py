"""The table of servers of the Model Context Protocol, whose tools agents may use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from holdfast.core.gate.servers import problems
from holdfast.core.mcp import LoginSpec, ServerSpec
from holdfast.core.message import EffectClass

from .section import Section, number, word

_HOUR, _DAY = 3_600, 86_400

_Effect = Annotated[EffectClass, Field(strict=False)]


def _words(text: str, example: list[str], default: tuple[str, ...] = ()) -> Any:
    return Field(default=default, strict=False, description=text, examples=[example])


class McpLogin(Section):
    """How one logs in to a server at an address, where it does not say so itself."""

    grant: Literal["person", "own"] = word(
        "person", "`person`: somebody logs in, in a browser; `own`: the house (client credentials)."
    )
    client_id: str = word("", "What we are to those who issue its logins.", "holdfast-of-acme")
    client_secret: str = word("", "What proves it: `$SECRET{name}`.", "$SECRET{mcp/example}")
    client_key: str = word("", "Or a private key (PEM): `$SECRET{name}`.", "$SECRET{mcp/key}")
    document: str = word(
        "", "Where we describe ourselves, as a client id.", "https://example.com/holdfast.json"
    )
    redirect: str = word(
        "",
        "Where a login ends, if only that is registered: on the person's own machine.",
        "http://127.0.0.1:7898/callback",
    )
    scopes: tuple[str, ...] = Field(
        default=(), strict=False, description="Asked for besides.", examples=[["read"]]
    )


class McpServer(Section):
    """One server: a command that runs in a box, or an address. Its tools are offered once a person
    has agreed to them: `holdfast mcp trust NAME`."""

    command: tuple[str, ...] = _words(
        "The program and its arguments; it talks on its stdin and stdout, in a box.",
        ["/opt/mcp/bin/mcp-server-git"],
    )
    url: str = word("", "Or where it is (streamable HTTP).", "https://mcp.example.com/mcp")
    headers: dict[str, str] = Field(
        default={},
        description="Sent with each request to `url`; `$SECRET{name}` is filled in on the way out.",
        examples=[{"Authorization": "Bearer $SECRET{mcp/example}"}],
    )
    environment: dict[str, str] = Field(
        default={},
        description="Variables of the command. `$SECRET{name}` only for what is in `reveal`.",
        examples=[{"LOG_LEVEL": "warning"}],
    )
    reveal: tuple[str, ...] = _words(
        "Secrets that the command itself may see, in its `environment`.", ["github"]
    )
    agents: tuple[str, ...] = _words("Agents that may use it: shell patterns.", ["crew-*"], ("*",))
    tools: tuple[str, ...] = _words(
        "Tools of it that are offered: shell patterns, for its names or ours.", ["get_*"], ("*",)
    )
    effects: dict[str, _Effect] = Field(
        default={},
        description="What a second run of a tool would do: a shell pattern of its names, and "
        "`reads`, `writes` or `repeatable`. The first that matches counts; without one: `writes`.",
        examples=[{"get_*": "reads"}],
    )
    believe_hints: bool = word(
        False,
        "Believe what the server itself says of its tools' effects, where `effects` is silent.",
    )
    timeout_seconds: float = number(60.0, 0.1, _HOUR, "s", "The longest one call may take.")
    start_seconds: float = number(30.0, 0.1, _HOUR, "s", "The longest it may take to come up.")
    idle_seconds: float = number(300.0, 1, _DAY, "s", "After this long without use it is ended.")
    prefix: str | None = Field(
        default=None,
        description="What its tools' names begin with; left out: the server's name and `_`.",
        examples=["git_"],
    )
    description: str = word("", "What it is for: stands before its tools' words.", "our tickets")
    read_only: tuple[str, ...] = _words(
        "Paths that its box shows besides, read-only.", ["/opt/mcp"]
    )
    shared: bool = word(
        False, "One process for all tasks in a folder of its own, not one in each task's folder."
    )
    ask_seconds: float = number(
        0.0, 0, _HOUR, "s", "How long a call may wait for a person whom it asks; 0: it may not ask."
    )
    sampling: Literal["never", "ask", "always"] = word(
        "never",
        "Whether it may have the task's model asked, at the task's expense; `ask`: each time a "
        "person says yes within `ask_seconds`.",
        "ask",
    )
    handshake: bool = word(
        False, "Speak a revision up to 2025-11-25 with it, even if it knows the newest."
    )
    private: bool = word(False, "The name in `url` may lead to a private address.")
    login: McpLogin = Field(
        default=McpLogin(), description="How one logs in: `[mcp.servers.NAME.login]`."
    )

    def spec(self, name: str) -> ServerSpec:
        """The server as its adapter wants it."""
        told = self.model_dump(exclude={"timeout_seconds", "login"})
        login = LoginSpec(**self.login.model_dump())
        return ServerSpec(name=name, seconds=self.timeout_seconds, login=login, **told)


class Mcp(Section):
    """Servers of the Model Context Protocol."""

    servers: dict[str, McpServer] = Field(
        default={}, description="One table per server: `[mcp.servers.NAME]`."
    )

    @field_validator("servers")
    @classmethod
    def _make_sense(cls, value: dict[str, McpServer]) -> dict[str, McpServer]:
        for name, one in value.items():
            for wrong in problems(one.spec(name)):
                raise ValueError(wrong)
        return value
