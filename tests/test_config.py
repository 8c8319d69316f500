"""The configuration: what wins, what every key does, and how mistakes are told."""

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from holdfast.config import (
    Config,
    Provider,
    Setting,
    Settings,
    home_folder,
    load,
    reference,
    to_agent,
    to_box_limits,
    to_limits,
    to_rules,
)
from holdfast.config.read import MAX_BYTES
from holdfast.config.sections import Output, Policy, Price, Role
from holdfast.config.sections_acp import AcpAgent
from holdfast.config.sections_mcp import McpServer
from holdfast.config.sections_peers import PeerRow
from holdfast.config.sections_policy import AnswerTable, CeilingTable, DomainTable
from holdfast.config.sections_web import SearchEngine
from holdfast.core.agent import Agent, Shape, Style
from holdfast.core.budget import Limits
from holdfast.core.error import Invalid, NotAllowed
from holdfast.core.gate.policy import Allow, Ask, Deny, Verdict
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId
from holdfast.core.message import EffectClass, Reply, ToolCall
from holdfast.doors.http.route import Facts
from holdfast.engine.supervise import Intake
from holdfast.ports.box import BoxLimits
from tests.core.given import judge
from tests.doors.house import PAYS, Plan, street


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def configured(home: Path, text: str | bytes = "", /, **env: str) -> Config:
    """The configuration of a home whose file says `text`, in an environment of just `env`."""
    if text:
        data = text.encode() if isinstance(text, str) else text
        (home / "config.toml").write_bytes(data)
    return load(environment={"HOLDFAST_HOME": str(home), **env})


def told(home: Path, text: str | bytes = "", **env: str) -> list[str]:
    """What is said about a wrong configuration, line by line, without the file's folder."""
    with pytest.raises(Invalid) as found:
        configured(home, text, **env)
    assert (found.value.code, found.value.exit_code) == ("bad_config", 2)
    return str(found.value).replace(f"{home}/", "").splitlines()


def test_without_a_file_everything_has_its_default(tmp_path: Path):
    config = configured(tmp_path)
    assert (config.home, config.path) == (tmp_path, tmp_path / "config.toml")
    assert to_limits(config) == Limits()
    assert to_agent(config) == Agent()
    assert to_box_limits(config) == BoxLimits()
    assert Intake(depth=config.engine.queue_depth, drain=config.engine.drain_seconds) == Intake()
    assert {row.source for row in config.describe()} == {"default"}
    assert config.warnings == ()


def test_a_section_may_say_only_some_of_its_keys(tmp_path: Path):
    config = configured(tmp_path, "[limits]\nsteps = 7\n")
    assert (config.limits.steps, config.limits.tokens) == (7, 1_000_000)


@pytest.mark.anyio
async def test_the_environment_beats_the_file_and_the_file_the_default(tmp_path: Path):
    """Row GC-84."""
    text = "[engine]\nlanes = 4\nagent_lanes = 3\n"
    config = configured(tmp_path, text, HOLDFAST_ENGINE_LANES="7")
    assert (config.engine.lanes, config.engine.agent_lanes) == (7, 3)
    assert config.engine.provider_calls == 16
    sources = {row.key: row.source for row in config.describe()}
    assert sources["engine.lanes"] == "HOLDFAST_ENGINE_LANES"
    assert sources["engine.agent_lanes"] == "file"
    assert sources["engine.provider_calls"] == "default"
    facts = Facts(lanes=config.engine.lanes)
    async with street(tmp_path, plan=Plan(facts=facts)) as at:
        status = (await at.tcp.get("/api/v1/status")).json()
    assert status["lanes"] == 7


def test_the_command_line_beats_the_environment(tmp_path: Path):
    env = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_SERVER_PORT": "9000"}
    config = load({"server.port": 0}, environment=env)
    assert config.server.port == 0
    assert config.sources["server.port"] == "command line"


@pytest.mark.anyio
async def test_every_key_can_be_set_by_a_variable_and_acts(tmp_path: Path):
    """Rows OK-102 and OK-147."""
    text = "[limits]\nattempts = 1\n[agent]\nname = 'me'\n"
    config = configured(tmp_path, text, HOLDFAST_LIMITS_STEPS="1", HOLDFAST_MODEL="")
    agent = to_agent(config)
    assert (agent.limits.steps, agent.limits.attempts, agent.limits.tokens) == (1, 1, 1_000_000)
    async with street(tmp_path, [PAYS, Reply(text="x")], plan=Plan(agent=agent)) as at:
        row = await at.done(allow=["pay"])
        assert (row["status"], row["spent"]["steps"]) == ("FAILED", 1)
        assert "steps: 1 of 1 used" in row["fault"]["message"]
    for line in ("steps = 3 4", "steps ="):
        (said,) = told(tmp_path, f"[limits]\n{line}\n")
        assert said.startswith("config.toml:2:")
        assert "not valid TOML" in said


def example_of(key: str, value: str) -> tuple[str, Any]:
    """Another value than the default, as TOML and as what it becomes."""
    others: dict[str, tuple[str, Any]] = {
        "server.host": ("::1", "::1"),
        "server.tls": ("own", "own"),
        "server.certificate": ("c.pem", "c.pem"),
        "server.certificate_key": ("k.pem", "k.pem"),
        "server.names": ('["a.lan", "FE80::1"]', ("a.lan", "fe80::1")),
        "server.origins": ('["https://a.example"]', ("https://a.example",)),
        "server.proxies": ('["10.0.0.0/8"]', ("10.0.0.0/8",)),
        "models.default": ("a/b", "a/b"),
        "models.providers": ('{x = {base_url = "http://x"}}', {"x": Provider(base_url="http://x")}),
        "models.roles": ('{small = {model = "a/b"}}', {"small": Role(model="a/b")}),
        "models.unknown_price": ("deny", "deny"),
        "models.price": ('{"a/*" = {input = 2.5}}', {"a/*": Price(input=2.5)}),
        "models.fallback": ('{"a/b" = ["c/d"]}', {"a/b": ("c/d",)}),
        "models.logins": ("{claude = true}", None),
        "policy.preset": ("open", "open"),
        "policy.ceiling": (
            '{helper = {preset = "reader"}}',
            {"helper": CeilingTable(preset="reader")},
        ),
        "policy.domain": (
            '{mail = {tools = ["mail_*"]}}',
            {"mail": DomainTable(tools=("mail_*",))},
        ),
        "policy.group": ('{us = ["key:a"]}', {"us": ("key:a",)}),
        "policy.answer": ('[{by = ["key:a"]}]', (AnswerTable(by=("key:a",)),)),
        "policy.rule": ('[{say = "deny", tool = "exec"}]', None),
        "a2a.name": ("me", "me"),
        "a2a.description": ("mine", "mine"),
        "slack.api": ("https://slack-gov.com/api", "https://slack-gov.com/api"),
        "slack.agents": ('["ada"]', ("ada",)),
        "a2a.url": ("https://a.example", "https://a.example"),
        "a2a.persons": ('["user:ann"]', ("user:ann",)),
        "a2a.peers": ('{far = {url = "https://a"}}', {"far": PeerRow(url="https://a")}),
        "agent.name": ("me", "me"),
        "agent.team": ("us", "us"),
        "agent.instructions": ("be brief", "be brief"),
        "agent.tools": ('["read"]', ("read",)),
        "box.read_only": ('["/opt"]', ("/opt",)),
        "models.window": ("{m = 4000}", {"m": 4000}),
        "container.image": ("debian:12", "debian:12"),
        "container.docker_host": ("unix:///run/d.sock", "unix:///run/d.sock"),
        "container.runtime": ("runc", "runc"),
        "container.gvisor_platform": ("ptrace", "ptrace"),
        "microvm.kernel": ("/opt/vmlinuz", "/opt/vmlinuz"),
        "microvm.root": ("/opt/root.img", "/opt/root.img"),
        "box.kind": ("degraded", "degraded"),
        "browser.tier": ("stealth", "stealth"),
        "browser.executable": ("/opt/chrome", "/opt/chrome"),
        "browser.remote_url": ("wss://there/", "wss://there/"),
        "browser.secret_hosts": ('["*.example.com"]', ("*.example.com",)),
        "box.requires": ('["memory"]', ("memory",)),
        "box.environment": ('{TZ = "UTC"}', {"TZ": "UTC"}),
        "log.level": ("debug", "debug"),
        "agent.thinking": ("low", "low"),
        "agent.show_thinking": ("always", "always"),
        "agent.temperature": ("0.5", 0.5),
        "agent.output": ('{schema_file = "s.json"}', Output(schema_file="s.json")),
        "limits.cost_usd": ("1.5", 1.5),
        "egress.methods": ('["POST"]', ("POST",)),
        "egress.private": ('["Wiki.lan."]', ("wiki.lan",)),
        "egress.allow": ('[{host = "api.example.com"}]', None),
        "chat.users": ('["ann"]', ("ann",)),
        "chat.rooms": ('["hall"]', ("hall",)),
        "chat.persons": ('["key:a/ann"]', ("key:a/ann",)),
        "web.engines": ('["brave"]', ("brave",)),
        "web.preferred": ("brave", "brave"),
        "acp.agents": ('{lab = {command = ["x"]}}', {"lab": AcpAgent(command=("x",))}),
        "mcp.servers": ('{lab = {command = ["x"]}}', {"lab": McpServer(command=("x",))}),
        "web.search": ('{brave = {key_env = "K"}}', {"brave": SearchEngine(key_env="K")}),
        "vault.passphrase": ("a passphrase", None),
        "vault.passphrase_file": ("/run/phrase", "/run/phrase"),
        "vault.env_file": (".env", ".env"),
        "policy.labels": ("report", "report"),
        "policy.apart": ('["web:*"]', ("web:*",)),
        "audit.mirror": ("audit.jsonl", "audit.jsonl"),
        "vault.scrub": ('["*_KEY"]', ("*_KEY",)),
    }
    if key in others:
        return others[key]
    if value in {"true", "false"}:
        return ("false", False) if value == "true" else ("true", True)
    number = tomllib.loads(f"x = {value}")["x"]
    return str(number + 1), number + 1


def keys_of(config: Config) -> list[Setting]:
    """All but the lists of tables, which only the file has."""
    return [row for row in config.describe() if "." in row.key]


def test_every_single_key_takes_a_variable(tmp_path: Path):
    for row in keys_of(configured(tmp_path)):
        text, wanted = example_of(row.key, row.value)
        name = f"HOLDFAST_{row.key.upper().replace('.', '_')}"
        config = configured(tmp_path, **{name: text})
        section, _, field = row.key.partition(".")
        got = getattr(getattr(config, section), "as_json" if field == "json" else field)
        assert wanted is None or got == wanted, row.key
        assert config.sources == {row.key: name}
        assert config.fingerprint() != configured(tmp_path).fingerprint(), row.key


def test_roles_and_fallbacks_are_tables_and_a_wrong_one_is_said(tmp_path: Path):
    small = "[models.roles.small]\nmodel = 'a/b'\nfallback = ['c/d']\n"
    text = f"{small}[models.fallback]\n'e/f' = ['g']\n"
    config = configured(tmp_path, text)
    assert config.models.roles == {"small": Role(model="a/b", fallback=("c/d",))}
    assert config.models.fallback == {"e/f": ("g",)}
    assert told(tmp_path, "[models.roles.boss]\nmodel = 'a/b'\n") == [
        "config.toml:1: models.roles: expected only the roles executor, evaluator, planner, small,"
        " embedder, not boss, found a table; for example roles = {}"
    ]
    assert told(tmp_path, "[models.roles.small]\nmodle = 'a/b'\n") == [
        "config.toml:2: models.roles.small.modle: unknown key; did you mean model?"
    ]
    assert told(tmp_path, "[models.fallback]\n'e/f' = 'g'\n") == [
        'config.toml:2: models.fallback.e/f: expected a list of texts, found "g";'
        " for example e/f = []"
    ]
    assert told(tmp_path, "[models.roles.embedder]\nmodel = 'a/b'\nfallback = ['c/d']\n") == [
        "config.toml:1: models.roles: expected an embedder without fallback, for vectors of two"
        " models do not compare, found a table; for example roles = {}"
    ]


def test_deadlines_have_the_names_that_others_use_too(tmp_path: Path):
    """Part of row KV-23."""
    env = {"CHAT_REQUEST_TIMEOUT_SECS": "45", "STREAM_REQUEST_TIMEOUT_SECS": "180"}
    models = configured(tmp_path, **env).models
    assert (models.first_token_seconds, models.total_seconds) == (45, 180)
    more = {**env, "HOLDFAST_MODELS_TOTAL_SECONDS": "90"}
    assert configured(tmp_path, **more).models.total_seconds == 90


def test_home_file_model_and_log_level_follow_their_variables(tmp_path: Path):
    """Row OK-103."""
    other = tmp_path / "else.toml"
    other.write_text("[models]\ndefault = 'from/file'\n[log]\nlevel = 'error'\n")
    home = {"HOLDFAST_HOME": str(tmp_path / "h")}
    config = load(environment={**home, "HOLDFAST_CONFIG": str(other)})
    assert (config.home, config.path) == (tmp_path / "h", other)
    assert (config.models.default, config.log.level) == ("from/file", "error")
    assert load(environment={**home, "HOLDFAST_MODEL": "a/b"}).models.default == "a/b"
    assert load(environment={**home, "HOLDFAST_LOG_LEVEL": "debug"}).log.level == "debug"
    assert home_folder({}) == Path.home() / ".holdfast"
    assert home_folder({"HOLDFAST_HOME": "~/x"}) == Path.home() / "x"
    assert home_folder({"HOLDFAST_HOME": ""}) == Path.home() / ".holdfast"


def test_the_exact_variable_beats_the_short_one(tmp_path: Path):
    config = configured(tmp_path, HOLDFAST_MODEL="short/x", HOLDFAST_MODELS_DEFAULT="exact/x")
    assert config.models.default == "exact/x"


WRONG = """\
[engine]
lanez = 3
agent_lanes = "four"
tool_seconds = true

[limits]
steps = 999999

[models.providers.x]
kind = "oppenai"
base_url = "ftp://x"

[[policy.rule]]
say = "ask"

[[policy.rule]]
tool = "exec"
effect = "wries"

[box]
read_only = ["/a", 3]

[bogus]
a = 1
"""


def test_every_mistake_is_told_at_once_with_its_line_and_what_would_be_right(tmp_path: Path):
    assert set(told(tmp_path, WRONG)) == {
        "config.toml:2: engine.lanez: unknown key; did you mean lanes?",
        "config.toml:3: engine.agent_lanes: expected a whole number from 1 to 1024, "
        'found "four"; for example agent_lanes = 4',
        "config.toml:4: engine.tool_seconds: expected a number from 1 to 86400, "
        "found true; for example tool_seconds = 900.0",
        "config.toml:7: limits.steps: expected a whole number from 1 to 10000, "
        "found 999999; for example steps = 50",
        "config.toml:10: models.providers.x.kind: expected one of auto, openai, "
        "openai-responses, openai-compatible, anthropic, google, bedrock, azure, "
        'ollama, found "oppenai"; for example kind = "openai"',
        "config.toml:11: models.providers.x.base_url: expected an address that begins with "
        'http:// or https://, found "ftp://x"; for example base_url = "http://127.0.0.1:8000/v1"',
        "config.toml:16: policy.rule.2.say: is missing; it is one of allow, ask, deny, "
        'for example "ask"',
        "config.toml:18: policy.rule.2.effect: expected a pattern for reads, repeatable, writes, "
        'found "wries"; for example effect = "writes"',
        "config.toml:21: box.read_only.2: expected a text, found 3; "
        'for example read_only = ["/opt/data"]',
        "config.toml:23: bogus: unknown key; there are: server, engine, limits, models, policy, "
        "agent, box, container, microvm, egress, browser, mcp, acp, a2a, chat, slack, storage, "
        "log, vault, audit, web, budget",
    }


def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path):
    said = told(
        tmp_path,
        "",
        HOLDFAST_ENGINE_QUEUE_DEPTH="many",
        HOLDFAST_ENGINE_LANE="3",
        HOLDFAST_SERVER_PORT="99999",
        HOLDFAST_LOG_LEVEL="loud",
        HOLDFAST_LOG_JSON="false\nlevel = 1",
        HOLDFAST_AGENT_TOOLS="[" * 5000,
        HOLDFAST_UNRELATED="x",
    )
    assert set(said) == {
        'HOLDFAST_ENGINE_QUEUE_DEPTH: expected a whole number from 0 to 1000000, found "many"; '
        "for example HOLDFAST_ENGINE_QUEUE_DEPTH=1000",
        "HOLDFAST_ENGINE_LANE: unknown variable; did you mean HOLDFAST_ENGINE_LANES?",
        "HOLDFAST_SERVER_PORT: server.port: expected a whole number from 0 to 65535, "
        "found 99999; for example port = 7799",
        "HOLDFAST_LOG_LEVEL: log.level: expected one of debug, info, warning, error, "
        'found "loud"; for example level = "info"',
        'HOLDFAST_LOG_JSON: expected true or false, found "false\\nlevel = 1"; '
        "for example HOLDFAST_LOG_JSON=true",
        f'HOLDFAST_AGENT_TOOLS: expected a list of texts, found "{"[" * 59}…; '
        'for example HOLDFAST_AGENT_TOOLS=["read"]',
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[engine]\nlanes = \xff\n", "config.toml:2: not UTF-8: byte 0xff"),
        (b"#" * (MAX_BYTES + 1), f"config.toml: the file has {MAX_BYTES + 1} bytes; "),
        (b"x = " + b"[" * 100_000, "config.toml: nested too deeply"),
        (b"x = " + b"9" * 5000, "config.toml: not valid TOML: "),
        (b"engine = 3", "config.toml:1: engine: expected a table, found 3"),
        (b"[engine]\n[engine]\n", "config.toml:2:8: not valid TOML: "),
        (b"[limits]\ncost_usd = nan\n", "config.toml:2: limits.cost_usd: expected a number"),
        (b"[limits]\ncost_usd = -1\n", "config.toml:2: limits.cost_usd: expected a number"),
        (b"limits.steps = 'x'", "config.toml:1: limits.steps: expected a whole number"),
        (b"[engine]\n'lanes' = 0", "config.toml:2: engine.lanes: expected a whole number"),
    ],
)
def test_a_damaged_or_absurd_file_is_refused_with_the_place(tmp_path: Path, text: bytes, said: str):
    (line,) = told(tmp_path, text)
    assert line.startswith(said)


def test_a_file_that_cannot_be_read_is_no_default(tmp_path: Path):
    (tmp_path / "config.toml").mkdir()
    (line,) = told(tmp_path)
    assert line == "config.toml: cannot be read: Is a directory"
    (line,) = told(tmp_path, HOLDFAST_CONFIG=str(tmp_path / "none.toml"))
    assert line == "none.toml: there is no such file, but HOLDFAST_CONFIG names it"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_a_host_that_others_can_reach_is_refused(tmp_path: Path, host: str):
    with pytest.raises(NotAllowed) as refused:
        configured(tmp_path, f'[server]\nhost = "{host}"\n')
    assert (refused.value.code, refused.value.exit_code) == ("exposed", 3)
    assert "127.0.0.1" in refused.value.hint
    with_tls = configured(tmp_path, f'[server]\nhost = "{host}"\ntls = "own"\n')
    assert with_tls.server.exposed


def test_a_certificate_belongs_to_its_key_and_to_tls(tmp_path: Path):
    with pytest.raises(Invalid, match="needs server"):
        configured(tmp_path, '[server]\ntls = "files"\ncertificate = "c.pem"\n')
    unused = configured(tmp_path, '[server]\ncertificate = "c.pem"\n')
    assert 'server.certificate is not used without server.tls = "files"' in unused.warnings


@pytest.mark.parametrize(
    "line",
    [
        'names = ["Not a name"]',
        'names = ["*.example.com"]',
        'origins = ["*"]',
        'origins = ["https://a.example/path"]',
        'proxies = ["anywhere"]',
        'proxies = ["10.0.0.1/8"]',
    ],
)
def test_whom_the_door_trusts_is_said_exactly(tmp_path: Path, line: str):
    with pytest.raises(Invalid, match="expected"):
        configured(tmp_path, f"[server]\n{line}\n")


KEYED = '[models.providers.x]\napi_key = "sk-secret"\n[box.environment]\nMY_TOKEN = "tk-secret"\n'


def test_secrets_are_told_to_nobody(tmp_path: Path):
    config = configured(tmp_path, KEYED)
    assert config.models.providers["x"].api_key.get_secret_value() == "sk-secret"
    shown = f"{config!r} {config.describe()} {config.fingerprint()} {config.warnings}"
    assert "sk-secret" not in shown
    assert "tk-secret" not in str(config.describe())
    other = configured(tmp_path, KEYED.replace("-secret", "-other"))
    assert other.fingerprint() == config.fingerprint()
    for wrong in ('api_key = ["sk-secret"]', 'base_url = "http://me:sk-secret@x"'):
        said = told(tmp_path, f"[models.providers.x]\n{wrong}\n")
        assert "sk-secret" not in str(said)
    for wrong in ("{x = {api_key = 'sk-secret'", "'sk-secret'"):
        assert "sk-secret" not in str(told(tmp_path, b"#", HOLDFAST_MODELS_PROVIDERS=wrong))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://x:99999/v1", "expected a port from 0 to 65535"),
        ("http://x:abc/v1", "expected a port from 0 to 65535"),
        ("http://x /v1", "without blanks"),
        ("http://x\\n/v1", "without blanks"),
    ],
)
def test_an_address_that_nobody_could_ask_is_refused(tmp_path: Path, address: str, why: str):
    said = told(tmp_path, f'[models.providers.x]\nbase_url = "{address}"\n')
    assert why in str(said)


def test_a_key_in_the_file_is_warned_of(tmp_path: Path):
    config = configured(tmp_path, KEYED)
    (tmp_path / "config.toml").chmod(0o644)
    plain, open_to_all = load(environment={"HOLDFAST_HOME": str(tmp_path)}).warnings
    assert "prefer api_key_env" in plain
    assert "mode 644" in open_to_all
    (tmp_path / "config.toml").chmod(0o600)
    assert len(load(environment={"HOLDFAST_HOME": str(tmp_path)}).warnings) == 1
    assert config.fingerprint().startswith("cfg-")


def call(tool: str, target: str = "") -> ToolCall:
    return ToolCall(
        id=CallId("c"), tool=tool, arguments={}, target=target, effect=EffectClass.WRITES
    )


@pytest.mark.parametrize(
    ("tool", "target", "verdict"),
    [("exec", "git log", Allow), ("exec", "rm x", Deny), ("write", "a", Ask)],
)
def test_configured_rules_lie_above_the_preset(
    tmp_path: Path, tool: str, target: str, verdict: type[Verdict]
):
    text = """
    [[policy.rule]]
    say = "allow"
    tool = "exec"
    target = "git *"
    [[policy.rule]]
    say = "deny"
    target = "rm *"
    reason = "never"
    """
    rules = to_rules(configured(tmp_path, text))
    assert isinstance(judge(call(tool, target), rules.layers, unattended=False, until=0), verdict)


def test_the_policys_version_follows_its_content(tmp_path: Path):
    plain = to_rules(configured(tmp_path))
    assert plain.layers[-1] == PRESETS["ask"]
    assert plain.version.startswith("policy-")
    assert plain == to_rules(configured(tmp_path, HOLDFAST_ENGINE_LANES="3"))
    for name, value in [("PRESET", "open"), ("APPROVAL_SECONDS", "60"), ("RULE", '[{say="ask"}]')]:
        other = to_rules(configured(tmp_path, **{f"HOLDFAST_POLICY_{name}": value}))
        assert other.version != plain.version, name
    assert set(get_args(Policy.model_fields["preset"].annotation)) == PRESETS.keys()


def test_limits_of_zero_are_no_limits_but_zero_money_is_no_money(tmp_path: Path):
    limits = to_limits(configured(tmp_path, "[limits]\ntokens = 0\nseconds = 0\ncost_usd = 0\n"))
    assert (limits.tokens, limits.seconds, limits.cost) == (None, None, 0)
    priced = to_limits(configured(tmp_path, "[limits]\ncost_usd = 2.5\n"))
    assert priced.cost == 2_500_000


def test_the_reference_has_a_row_for_every_key_with_words_and_a_range(tmp_path: Path):
    page = reference()
    for row in keys_of(configured(tmp_path)):
        name = row.key.rpartition(".")[2]
        variable = f"HOLDFAST_{row.key.upper().replace('.', '_')}"
        (line,) = [line for line in page.splitlines() if f"`{variable}`" in line]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert (cells[0], cells[1]) == (f"`{name}`", f"`{row.value}`")
        assert all(cells), line
    for section in Settings.model_fields:
        assert f"## [{section}]" in page or f"## [[{section}]]" in page
    assert "`api_key_env`" in page
    assert "`say`" in page


def test_what_answers_must_look_like_is_read_from_a_file_or_the_table(tmp_path: Path):
    """Part of row GC-42."""
    (tmp_path / "s.json").write_text('{"type": "object"}')
    config = configured(tmp_path, '[agent.output]\nschema_file = "s.json"\nretries = 1\n')
    assert to_agent(config).shape == Shape(schema={"type": "object"}, retries=1)
    text = '[agent.output]\nstrict = false\nschema = { type = "array" }\n'
    config = configured(tmp_path, text)
    assert to_agent(config).shape == Shape(schema={"type": "array"}, strict=False)
    (line,) = told(tmp_path, "[agent.output]\nretries = 1\n")
    assert line.startswith("config.toml:1: agent.output: expected schema_file or schema, and not")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        (" " * (1 << 21), "is longer than a schema may be"),
    ],
)
def test_a_file_that_holds_no_schema_is_refused_by_name(
    tmp_path: Path, text: str | None, said: str
):
    """Part of row GC-42."""
    if text is not None:
        (tmp_path / "s.json").write_text(text)
    config = configured(tmp_path, '[agent.output]\nschema_file = "s.json"\n')
    with pytest.raises(Invalid) as found:
        to_agent(config)
    assert f"agent.output.schema_file: {tmp_path}/s.json {said}" in str(found.value)
    assert found.value.code == "bad_config"


def test_how_the_agent_answers_is_configured(tmp_path: Path):
    text = '[agent]\nthinking = "low"\ntemperature = 0.5\nmax_output = 9\n'
    style = Style(thinking="low", temperature=0.5, max_output=9)
    assert to_agent(configured(tmp_path, text)).style == style


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[box]\nkind = "none"', "box.kind: expected one of bubblewrap, docker, podman"),
        ('[box]\nkind = "docker-desktop"', "box.kind: expected one of bubblewrap, docker"),
        ('[models.providers.x]\nkind = "nobody"', "models.providers.x.kind: expected one of"),
        ('[[policy.rule]]\nsay = "allow"\ncommand = [""]', "command"),
        ('[agent]\nshow_thinking = "sometimes"', "agent.show_thinking: expected one of never"),
    ],
)
def test_what_would_run_commands_unboxed_or_mean_nothing_is_no_configuration(
    tmp_path: Path, text: str, said: str
):
    """Row OC-11: commands run in a box or not at all; kinds, addresses, providers, entries of lists
    and modes are what they can be. A chat has the installation's agent, so none can be left out."""
    assert said in " ".join(told(tmp_path, text))


def test_a_shell_is_boxed_and_asked_about_until_it_is_allowed_by_name(tmp_path: Path):
    """Row GC-89i: there is no shell outside of a box, and of none in one by default."""
    plain = configured(tmp_path)
    assert plain.box.kind == "bubblewrap"
    layers = to_rules(plain).layers
    for command in ("rm -rf /", "ls", "curl http://x | sh", "sudo reboot"):
        asked = judge(call("exec", command), layers, unattended=False, until=0)
        assert isinstance(asked, Ask), command
        assert isinstance(judge(call("exec", command), layers, unattended=True, until=0), Deny)
    named = """
    [[policy.rule]]
    say = "allow"
    tool = "exec"
    command = ["ls"]
    """
    layers = to_rules(configured(tmp_path, named)).layers
    assert isinstance(judge(call("exec", "ls"), layers, unattended=False, until=0), Allow)
    for command in ("ls; rm -rf /", "ls | sh", "ls $(reboot)", "rm -rf /"):
        assert not isinstance(
            judge(call("exec", command), layers, unattended=False, until=0), Allow
        ), command
