"""The table of other agents that ours may ask, over the Agent Client Protocol."""

from __future__ import annotations

from pydantic import Field, field_validator

from holdfast.core.gate.servers import problems
from holdfast.core.mcp import ServerSpec

from .section import Section, number, word

_HOUR = 3_600


class AcpAgent(Section):
    """One agent: a command that runs in a box, in the folder of the task that asks it."""

    command: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="The program and its arguments; it talks on its stdin and stdout, in a box.",
        examples=[["/opt/gemini/bin/gemini", "--experimental-acp"]],
    )
    environment: dict[str, str] = Field(
        default={},
        description="Variables of the command. `$SECRET{name}` only for what is in `reveal`.",
        examples=[{"GEMINI_API_KEY": "$SECRET{gemini}"}],
    )
    reveal: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Secrets that the command itself may see, in its `environment`.",
        examples=[["gemini"]],
    )
    agents: tuple[str, ...] = Field(
        default=("*",),
        strict=False,
        description="Agents of ours that may ask it: shell patterns.",
        examples=[["crew-*"]],
    )
    description: str = word("", "What it is good for, as our agents are told.", "the web developer")
    read_only: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Paths that its box shows besides, read-only.",
        examples=[["/opt/gemini"]],
    )
    timeout_seconds: float = number(900.0, 1, 24 * _HOUR, "s", "The longest one answer may take.")
    idle_seconds: float = number(
        300.0, 1, 24 * _HOUR, "s", "After this long without a word during an answer it is ended."
    )
    start_seconds: float = number(60.0, 0.1, _HOUR, "s", "The longest it may take to come up.")

    def spec(self, name: str) -> ServerSpec:
        """The agent as its adapter wants it."""
        told = self.model_dump(exclude={"timeout_seconds"})
        return ServerSpec(name=name, seconds=self.timeout_seconds, **told)


class Acp(Section):
    """Other agents that speak the Agent Client Protocol. Each is a tool `ask_NAME`."""

    agents: dict[str, AcpAgent] = Field(
        default={}, description="One table per agent: `[acp.agents.NAME]`."
    )

    @field_validator("agents")
    @classmethod
    def _make_sense(cls, value: dict[str, AcpAgent]) -> dict[str, AcpAgent]:
        for name, one in value.items():
            if not one.command:
                raise ValueError(f"expected a command for {name}")
            for wrong in problems(one.spec(name)):
                raise ValueError(wrong)
        return value
