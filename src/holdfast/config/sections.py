"""The tables of the file and their keys: what each is for, its unit, default and range."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from .section import Section, number, word
from .sections_a2a import A2A
from .sections_acp import Acp
from .sections_audit import Audit
from .sections_box import Box
from .sections_browser import Browser
from .sections_chat import Chat
from .sections_container import Container
from .sections_egress import Egress
from .sections_mcp import Mcp
from .sections_microvm import MicroVM
from .sections_policy import Policy
from .sections_server import Server
from .sections_slack import Slack
from .sections_vault import Vault
from .sections_web import Web

_DAY = 86_400
_LOGINS = ("copilot", "chatgpt", "claude", "codex", "qwen-code")
_ROLES = ("executor", "evaluator", "planner", "small", "embedder")


def _names(text: str) -> Any:
    return Field(default=(), strict=False, description=text, examples=[["openai/gpt-5"]])


class Engine(Section):
    """How much happens at once."""

    lanes: int = number(16, 1, 1024, "tasks", "Tasks that run at once.")
    agent_lanes: int = number(4, 1, 1024, "tasks", "Tasks of one agent that run at once.")
    provider_calls: int = number(16, 1, 1024, "calls", "Calls to one model provider at once.")
    queue_depth: int = number(
        1000, 0, 1_000_000, "tasks", "Tasks that may wait before more are turned away; 0: no limit."
    )
    drain_seconds: float = number(5.0, 0, 3600, "s", "How long a stop waits for what is in flight.")
    tool_seconds: float = number(900.0, 1, _DAY, "s", "The longest any one tool call may take.")


class Limits(Section):
    """What one task may use, unless it says otherwise."""

    steps: int = number(50, 1, 10_000, "turns", "Model turns.")
    tokens: int = number(1_000_000, 0, 10**9, "tokens", "Tokens of all turns; 0: no limit.")
    cost_usd: float | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="Money; left out: no limit; 0: only models that cost nothing.",
        examples=[2.5],
        json_schema_extra={"unit": "US dollars"},
    )
    seconds: int = number(7200, 0, 30 * _DAY, "s", "Running time, waiting left out; 0: no limit.")
    attempts: int = number(3, 1, 100, "tries", "Tries before the task is set aside.")
    attempt_seconds: int = number(3600, 1, 30 * _DAY, "s", "Time of one try.")
    check_rounds: int = number(3, 1, 100, "rounds", "Times that failed checks send it back.")


class Provider(Section):
    """One place that serves models."""

    kind: Literal[
        "auto",
        "openai",
        "openai-responses",
        "openai-compatible",
        "anthropic",
        "google",
        "bedrock",
        "azure",
        "ollama",
    ] = Field(
        default="auto",
        description="The protocol it speaks; `auto`: what the provider of its name does.",
        examples=["openai"],
    )
    base_url: str = word("", "Where it is; empty: the provider's own.", "http://127.0.0.1:8000/v1")
    api_key_env: str = word("", "The environment variable that holds the key.", "OPENAI_API_KEY")
    api_key: SecretStr = Field(
        default=SecretStr(""),
        strict=False,
        description="The key itself; better: `api_key_env`.",
        examples=["…"],
    )
    models: tuple[str, ...] = Field(
        default=(), strict=False, description="Models it has; empty: ask it.", examples=[["m"]]
    )
    tools: Literal["auto", "native", "text", "none"] = Field(
        default="auto",
        description="How its models call tools; auto: its own way, or as text where it has none.",
        examples=["text"],
    )
    free: bool | None = Field(
        default=None,
        description="Whether it costs nothing; left out: only a server on this machine does.",
        examples=[True],
    )
    connect_seconds: float = number(0.0, 0, 600, "s", "To connect; 0: as in `[models]`.")
    first_token_seconds: float = number(
        0.0, 0, 3600, "s", "To the first piece of a reply; 0: as in `[models]`."
    )
    idle_seconds: float = number(0.0, 0, 3600, "s", "Between two pieces; 0: as in `[models]`.")
    total_seconds: float = number(0.0, 0, _DAY, "s", "For a whole reply; 0: as in `[models]`.")
    headers: dict[str, str] = Field(
        default={}, description="Sent with every request.", examples=[{"X-Team": "blue"}]
    )
    max_output: int = number(
        0, 0, 10**7, "tokens", "The longest reply; 0: what is usual for the model."
    )
    window: int = number(
        0, 0, 10**9, "tokens", "What its models read in one call; 0: as is usual for the model."
    )
    api_version: str = word("", "Azure's API version; empty: the newest.", "2024-10-21")
    region: str = word("", "The AWS region of Bedrock.", "eu-central-1")

    @field_validator("base_url")
    @classmethod
    def _is_plain_web_address(cls, value: str) -> str:
        return _web_address(value)


class LoginClient(Section):
    """What is said otherwise of one login: copilot, chatgpt, claude, codex or qwen-code."""

    client_id: str = word("", "The OAuth client to log in as; nobody else's is built in.", "Iv1…")
    base_url: str = word("", "Where its models are asked.", "https://proxy.test/v1")
    device_url: str = word("", "Where device codes come from.", "https://proxy.test/device")
    authorize_url: str = word("", "Where a person logs in.", "https://proxy.test/authorize")
    redirect_url: str = word("", "Where the login ends.", "http://localhost:1455/auth/callback")
    token_url: str = word("", "Where tokens come from.", "https://proxy.test/token")
    exchange_url: str = word("", "Where Copilot's tokens come from.", "https://proxy.test/v2")
    revoke_url: str = word("", "Where a login is taken back.", "https://proxy.test/revoke")

    @field_validator("*")
    @classmethod
    def _are_plain_web_addresses(cls, value: str, info: ValidationInfo) -> str:
        is_address = (info.field_name or "").endswith("_url")
        return _web_address(value) if is_address else value


class Logins(Section):
    """Logins instead of keys. Those of other programs are off: their vendors do not document it."""

    claude: bool = word(
        False, "Use the login of `claude`. Its vendor does not document this and may forbid it."
    )
    codex: bool = word(
        False, "Use the login of `codex`. Its vendor does not document this and may forbid it."
    )
    qwen_code: bool = word(
        False, "Use the login of `qwen`. Its vendor does not document this and may forbid it."
    )
    keychain: bool = word(
        False, "Look for keys in the system's keychain too, under `holdfast`; needs the extra."
    )
    aws_sso: bool = word(
        True, "Keep AWS SSO sessions of `~/.aws/config` alive while the daemon runs."
    )
    clients: dict[str, LoginClient] = Field(
        default={}, description="One table per login: `[models.logins.clients.NAME]`."
    )

    @field_validator("clients")
    @classmethod
    def _are_logins(cls, value: dict[str, LoginClient]) -> dict[str, LoginClient]:
        for name in value:
            if name not in _LOGINS:
                raise ValueError(f"expected only the logins {', '.join(_LOGINS)}, not {name}")
        return value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("expected an address that begins with http:// or https://")
    if any(one.isspace() or not one.isprintable() for one in value):
        raise ValueError("expected an address without blanks")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("expected a port from 0 to 65535") from None
    if parts.username or parts.password:
        raise ValueError("an address may not carry a password: use api_key_env")
    return value


def _dollars(what: str, default: float | None = 0.0, example: float = 0.5) -> Any:
    return Field(
        default=default,
        ge=0,
        le=1_000_000,
        description=what,
        examples=[example],
        json_schema_extra={"unit": "US dollars"},
    )


class Price(Section):
    """What a model costs, in place of the built-in list."""

    input: float = _dollars("A million tokens sent.", example=3.0)
    output: float = _dollars("A million tokens of the reply.", example=15.0)
    cache_read: float | None = _dollars(
        "A million tokens that it read from its cache; left out: as `input`.", None, 0.3
    )
    cache_write: float | None = _dollars(
        "A million tokens that it wrote there; left out: a quarter more than `input`.", None, 3.75
    )
    per_call: float = _dollars("Each call.", example=0.01)


class Role(Section):
    """Which model plays a part: `@NAME` wherever a model is named."""

    model: str = word(
        "",
        "Its model; empty: `models.default` for the executor, what is small for `small`, what "
        "embeds for `embedder`, the executor's for every other.",
        "openai/gpt-5",
    )
    fallback: tuple[str, ...] = _names("Who stands in for it; empty: as `[models.fallback]` says.")


class Models(Section):
    """Which models, how long to wait for them, and what is done when one fails."""

    default: str = word("", "`provider/model` for tasks that name none.", "openai/gpt-5")
    detect_local: bool = word(True, "Look for model servers on this machine.")
    connect_seconds: float = number(10.0, 0.1, 600, "s", "To connect.")
    first_token_seconds: float = number(120.0, 0.1, 3600, "s", "To the first piece of a reply.")
    idle_seconds: float = number(60.0, 0.1, 3600, "s", "Between two pieces.")
    total_seconds: float = number(900.0, 1, _DAY, "s", "For a whole reply.")
    retries: int = number(
        3, 0, 10, "tries", "Times that a failing model is asked again when there is no other."
    )
    failures_to_open: int = number(
        1, 1, 1000, "failures", "Failures in a row that let a model cool down."
    )
    cooldown_seconds: float = number(
        60.0, 0, _DAY, "s", "The first cooldown of a failing model; each next one is longer."
    )
    roles: dict[str, Role] = Field(
        default={}, description="One table per role: `[models.roles.NAME]`."
    )
    fallback: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] = Field(
        default={},
        description="Who stands in for a model that fails, in order.",
        examples=[{"openai/gpt-5": ["anthropic/claude-sonnet-5-5"]}],
    )
    unknown_price: Literal["ask", "deny", "allow"] = Field(
        default="ask",
        description="What is done before a call whose price nobody knows: ask a person, deny it, "
        "or allow it where no budget of money applies.",
        examples=["ask"],
    )
    price: dict[str, Price] = Field(
        default={}, description='One table per model, or shell pattern: `[models.price."NAME"]`.'
    )
    window: dict[str, Annotated[int, Field(ge=1_000, le=10**9)]] = Field(
        default={},
        description="Tokens that a model reads in one call, by `provider/model` or `model`.",
        examples=[{"lab/qwen3": 32_768}],
    )
    providers: dict[str, Provider] = Field(
        default={}, description="One table per provider: `[models.providers.NAME]`."
    )

    logins: Logins = Field(
        default=Logins.model_construct(), description="Logins instead of keys: `[models.logins]`."
    )

    @field_validator("roles")
    @classmethod
    def _are_roles(cls, value: dict[str, Role]) -> dict[str, Role]:
        for name in value:
            if name not in _ROLES:
                raise ValueError(f"expected only the roles {', '.join(_ROLES)}, not {name}")
        if "embedder" in value and value["embedder"].fallback:
            raise ValueError(
                "expected an embedder without fallback, for vectors of two models do not compare"
            )
        return value


class BudgetRow(Section):
    """What may be used in a day, in a month or at all; what is left out has no limit.

    A budget with a name takes the place of the one for everybody (`*`).
    """

    scope: Literal["installation", "team", "agent", "session"] = Field(
        description="Whose calls it limits.", examples=["agent"]
    )
    of: str = word("*", "Its name; `*`: each one by itself.", "default")
    per: Literal["day", "month", "total"] = Field(
        default="day", description="How long, by the calendar of UTC.", examples=["month"]
    )
    usd: float | None = _dollars("Money.", None, 5.0)
    tokens: int | None = Field(
        default=None, ge=0, le=10**15, description="Tokens, in and out.", examples=[1_000_000]
    )
    calls: int | None = Field(
        default=None, ge=0, le=10**12, description="Model calls.", examples=[1000]
    )
    warn: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        default=(80,),
        strict=False,
        description="Percentages used at which it is said, each once.",
        examples=[[50, 80]],
    )


class Output(Section):
    """What answers must look like: JSON that fits a JSON Schema, from a file or as a table."""

    schema_file: str = word("", "The file of the schema, beside this one.", "answer.json")
    json_schema: dict[str, Any] = Field(
        default={},
        alias="schema",
        description="The schema itself.",
        examples=[{"type": "object"}],
    )
    retries: int = number(2, 0, 10, "times", "How often a wrong answer is sent back.")
    strict: bool = word(True, "Fail the task if the answer is still wrong; else take it as it is.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Output:
        if bool(self.schema_file) == bool(self.json_schema):
            raise ValueError("expected schema_file or schema, and not both")
        return self


class Agent(Section):
    """Who does the work when a task does not say."""

    name: str = word("default", "Its name.")
    team: str = word("", "The team whose budgets it shares.", "research")
    instructions: str = word("", "What it is told at the start of every turn.", "Be brief.")
    tools: tuple[str, ...] = Field(
        default=(), strict=False, description="Tools it has; empty: all.", examples=[["read"]]
    )
    context_chars: int = number(
        400_000, 1_000, 10**8, "characters", "Conversation it is shown; older output is shortened."
    )
    thinking: Literal["", "off", "low", "medium", "high"] = Field(
        default="",
        description="How much the model thinks before it answers; empty: as it likes.",
        examples=["low"],
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="How freely it chooses its words; left out: as its provider likes.",
        examples=[0.2],
    )
    max_output: int = number(
        0, 0, 10**7, "tokens", "The most of one reply; 0: what is usual for the model."
    )
    show_thinking: Literal["never", "on_error", "always"] = Field(
        default="never",
        description="Whether people see what it thought: below the answer, or when a task failed.",
        examples=["on_error"],
    )
    max_thinking_chars: int = number(
        4_000, 0, 1_000_000, "characters", "Thinking shown with one task, the latest."
    )
    output: Output | None = Field(
        default=None,
        description="What answers must look like; see `[agent.output]`.",
        examples=[{"schema_file": "answer.json"}],
    )


class Storage(Section):
    """How long things are kept."""

    keep_days: int = number(0, 0, 36_500, "days", "Ended tasks; 0: for ever.")
    max_mb: int = number(
        0, 0, 1 << 30, "MiB", "History beyond this goes, oldest ended tasks first; 0: no limit."
    )
    keep_outputs_days: int = number(
        7, 0, 36_500, "days", "Whole tool outputs, and what is kept apart; 0: for ever."
    )


class Log(Section):
    """What the daemon writes down about itself."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important thing to write.", examples=["info"]
    )
    as_json: bool = Field(
        default=True, alias="json", description="One JSON object per line.", examples=[True]
    )


class Settings(Section):
    """The whole file."""

    server: Server = Server.model_construct()
    engine: Engine = Engine.model_construct()
    limits: Limits = Limits.model_construct()
    models: Models = Models.model_construct()
    policy: Policy = Policy.model_construct()
    agent: Agent = Agent.model_construct()
    box: Box = Box.model_construct()
    container: Container = Container.model_construct()
    microvm: MicroVM = MicroVM.model_construct()
    egress: Egress = Egress.model_construct()
    browser: Browser = Browser.model_construct()
    mcp: Mcp = Mcp.model_construct()
    acp: Acp = Acp.model_construct()
    a2a: A2A = A2A.model_construct()
    chat: Chat = Chat.model_construct()
    slack: Slack = Slack.model_construct()
    storage: Storage = Storage.model_construct()
    log: Log = Log.model_construct()
    vault: Vault = Vault.model_construct()
    audit: Audit = Audit.model_construct()
    web: Web = Web.model_construct()
    budget: tuple[BudgetRow, ...] = Field(
        default=(),
        strict=False,
        description="What may be used above each task: `[[budget]]`.",
        examples=[[{"scope": "installation", "per": "month", "usd": 50}]],
    )

    @field_validator("budget")
    @classmethod
    def _are_limits_each_its_own(cls, value: tuple[BudgetRow, ...]) -> tuple[BudgetRow, ...]:
        names = set[str]()
        for row in value:
            name = f"{row.scope} {row.of} per {row.per}"
            if row.scope == "installation" and row.of != "*":
                raise ValueError("expected no name: there is only one installation")
            if row.usd is None and row.tokens is None and row.calls is None:
                raise ValueError(f"expected usd, tokens or calls in the budget {name}")
            if name in names:
                raise ValueError(f"expected one budget for {name}, not two")
            names.add(name)
        return value
