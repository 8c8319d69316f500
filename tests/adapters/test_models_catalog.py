"""Which models are found, in which order and by which names; and when libraries are loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.connections import SavedConnections
from holdfast.adapters.models.offline import OFFLINE
from holdfast.adapters.models.scripted import OneModel, ScriptedModel
from holdfast.adapters.models.settings import ModelsConfig, Probe, Provider
from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.core.budget import Reservation
from holdfast.core.error import Invalid
from holdfast.core.message import Reply, Usage
from holdfast.ports.model import ModelFailure
from holdfast.testing.model_contract import TOOLS, nothing, prompt
from holdfast.testing.model_server import Catalogue, ModelServer
from holdfast.testing.model_server import Reply as Say

KEY = "sk-canary-0123456789abcdef"
ALL_KEYS = {
    "OPENAI_API_KEY": KEY,
    "ANTHROPIC_API_KEY": KEY,
    "GEMINI_API_KEY": KEY,
    "OLLAMA_HOST": "0.0.0.0:11434",
}


def catalog(env: dict[str, str] | None = None, **more: Provider) -> Catalog:
    return Catalog(ModelsConfig(env=env or {}, providers=more, probe=False))


def test_with_nothing_configured_the_offline_model_is_used():
    """Part of row OK-80."""
    empty = catalog()
    assert empty.default == OFFLINE
    assert empty.find("").name == OFFLINE
    assert empty.describe().line == "Found: no language model. Using: offline/rules."


@pytest.mark.parametrize(
    ("missing", "using"),
    [
        ((), "anthropic"),
        (("ANTHROPIC_API_KEY",), "openai"),
        (("ANTHROPIC_API_KEY", "OPENAI_API_KEY"), "google"),
    ],
)
def test_keys_in_the_environment_are_found_in_order(missing: tuple[str, ...], using: str):
    """Part of row OK-80."""
    env = {name: value for name, value in ALL_KEYS.items() if name not in missing}
    described = catalog(env).describe()
    assert described.using.startswith(f"{using}/")
    names = [one.name for one in described.found]
    assert names == ["anthropic", "openai", "google", "ollama"][len(missing) :]
    assert described.found[0].source in ALL_KEYS
    assert f"{using} (from " in described.line


def test_an_empty_key_is_no_key():
    assert catalog({"OPENAI_API_KEY": " "}).default == OFFLINE


def test_base_urls_come_from_the_environment_and_are_understood_with_or_without_a_path():
    env = ALL_KEYS | {
        "OPENAI_BASE_URL": "http://one.test/v1/",
        "ANTHROPIC_BASE_URL": "http://two.test/v1",
        "GOOGLE_BASE_URL": "http://three.test:81/v1beta",
    }
    found = {one.name: one for one in catalog(env).describe().found}
    assert found["openai"].provider.base_url == "http://one.test/v1"
    assert found["anthropic"].provider.base_url == "http://two.test"
    assert found["google"].provider.base_url == "http://three.test:81"
    assert found["google"].host == "three.test:81"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:9", "http://127.0.0.1:9"),
        (":9", "http://127.0.0.1:9"),
        ("box.lan", "http://box.lan:11434"),
        ("http://box.lan:7/", "http://box.lan:7"),
        ("https://box.lan", "https://box.lan:443"),
    ],
)
def test_the_ollama_host_is_understood_in_all_its_forms(host: str, url: str):
    (found,) = catalog({"OLLAMA_HOST": host}).describe().found
    assert found.provider.base_url == url


def test_a_configured_provider_goes_before_what_the_environment_says_of_the_same_name():
    mine = Provider(kind="openai", base_url="http://mine.test/v1", models=("m",))
    described = catalog({"OPENAI_API_KEY": KEY}, openai=mine).describe()
    (found,) = described.found
    assert (found.source, found.host, described.using) == (
        "configuration",
        "mine.test",
        "openai/m",
    )
    assert found.provider.api_key == "", "a key goes to its own provider's address only"


def test_a_configured_provider_without_an_address_is_the_providers_own():
    (found,) = catalog({"OPENAI_API_KEY": KEY}, mine=Provider(kind="openai")).describe().found[1:]
    assert (found.host, found.provider.api_key) == ("api.openai.com", KEY)


def test_a_named_default_goes_before_what_is_found():
    providers = {
        name: Provider(kind="openai-compatible", base_url=f"http://{name}.test/v1", models=("x",))
        for name in "ab"
    }
    config = ModelsConfig(default="b/y", providers=providers, probe=False)
    assert Catalog(config).find("").name == "b/y"


def test_what_can_be_named_is_told_and_not_what_somebody_tried():
    here = catalog(
        mine=Provider(kind="openai-compatible", base_url="http://a.test/v1", models=("m",))
    )
    here.find("mine/tried")
    assert here.describe().names == ("mine/m", "offline/rules")


def test_no_key_is_shown():
    """Part of row OK-80."""
    here = catalog(
        ALL_KEYS, mine=Provider(kind="openai-compatible", api_key=KEY, base_url="http://a")
    )
    shown = f"{here.describe()!r}{here.describe().line}{here.find('mine/x')!r}{vars(here)!r}"
    assert KEY not in shown
    assert KEY not in repr(ModelsConfig(env=ALL_KEYS))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("antropic/claude-sonnet-5-5", "did you mean anthropic/claude-sonnet-5-5?"),
        ("sonnet-5-5", "did you mean anthropic/claude-sonnet-5-5?"),
        ("opnai/gpt-9", "did you mean openai/gpt-9?"),
        ("openai/gpt-9", "connect its provider first: holdfast connect openai"),
        (
            "zzz",
            "holdfast model list shows them; there are: anthropic/claude-sonnet-5-5, offline/rules",
        ),
        ("offline/rulez", "did you mean offline/rules?"),
    ],
)
def test_an_unknown_name_gets_a_hint(name: str, hint: str):
    with pytest.raises(Invalid) as caught:
        catalog({"ANTHROPIC_API_KEY": KEY}).find(name)
    assert caught.value.hint == hint
    assert caught.value.code == "unknown_model"


@pytest.mark.parametrize("url", ["", "foo", "ftp://a.test", "http://"])
def test_a_provider_needs_an_address_that_can_be_asked(url: str):
    with pytest.raises(Invalid, match="The provider here: base_url"):
        catalog(here=Provider(kind="openai-compatible", base_url=url))


def test_a_server_on_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def ask(server: ModelServer) -> None:
        provider = Provider(kind="openai-compatible", base_url=f"{server.url}/v1")
        here = Catalog(ModelsConfig(providers={"here": provider}, probe=False))
        assert (await here.find("here/x").ask(prompt("hello"), (), nothing)).text == "Hello."
        await here.close()

    with ModelServer([Say(text="Hello.")]) as server:
        anyio.run(ask, server)


def test_a_provider_alone_means_its_default_model():
    assert catalog(ALL_KEYS).find("openai").name == "openai/gpt-4.1"
    bare = catalog(here=Provider(kind="openai-compatible", base_url="http://a.test"))
    with pytest.raises(Invalid, match="No model of here is known"):
        bare.find("here")


def test_model_names_may_have_slashes_and_the_same_name_is_the_same_model():
    here = catalog(here=Provider(kind="openai-compatible", base_url="http://a.test"))
    model = here.find("here/meta/llama-3")
    assert model.name == "here/meta/llama-3"
    assert here.find(" here/meta/llama-3 ") is model


def test_more_models_can_be_added_by_name():
    demo = ScriptedModel([], name="demo/script")
    assert (
        Catalog(ModelsConfig(probe=False), more={"demo/script": demo}).find("demo/script") is demo
    )


def test_local_servers_are_found_only_when_asked_and_their_models_are_known():
    """Part of row OK-80."""
    models = ("mistral:7b", "llama3.1:8b")

    async def look(server: ModelServer) -> None:
        probes = (
            Probe(name="gone", kind="ollama", base_url="http://127.0.0.1:9"),
            Probe(name="lmstudio", kind="openai-compatible", base_url=f"{server.url}/v1"),
            Probe(name="odd", kind="openai-compatible", base_url=f"{server.url}/nothing"),
        )
        here = Catalog(ModelsConfig(probes=probes, probe_seconds=5))
        assert server.probes == []
        assert here.default == OFFLINE
        described = await here.detect()
        assert [one.name for one in described.found] == ["lmstudio"]
        assert described.found[0].models == models
        assert described.using == "lmstudio/mistral:7b"
        host = server.url.removeprefix("http://")
        assert described.line == f"Found: lmstudio (on {host}). Using: lmstudio/mistral:7b."
        again = await here.detect()
        assert [one.name for one in again.found] == ["lmstudio"]
        reply = await here.find("").ask(prompt("hello"), TOOLS, nothing)
        assert (reply.text, reply.usage.cost) == ("Hello.", 0)
        assert here.find("").reserve(prompt("hello"), TOOLS) == Reservation()
        await here.close()

    with ModelServer([Say(text="Hello.")], catalogue=Catalogue(models=models)) as server:
        anyio.run(look, server)


def test_ollama_is_asked_for_its_models_and_a_good_one_is_chosen():
    async def look(server: ModelServer) -> None:
        here = Catalog(ModelsConfig(env={"OLLAMA_HOST": server.url}, probe=False))
        assert (await here.detect()).using == "ollama/qwen2.5-coder:7b"
        await here.close()

    with ModelServer(catalogue=Catalogue(models=("gemma2", "qwen2.5-coder:7b"))) as server:
        anyio.run(look, server)
        assert server.probes[0].path == "/api/tags"


def test_after_closing_it_can_be_used_again():
    async def use(server: ModelServer) -> None:
        provider = Provider(kind="openai-compatible", base_url=f"{server.url}/v1")
        here = Catalog(ModelsConfig(providers={"here": provider}, probe=False))
        for _ in range(2):
            assert (await here.find("here/x").ask(prompt("hello"), (), nothing)).text == "Hello."
            await here.close()

    with ModelServer(default=Say(text="Hello.")) as server:
        anyio.run(use, server)


def test_the_heavy_libraries_are_loaded_with_the_first_question_and_not_before():
    script = (
        "import sys, anyio\n"
        "from holdfast.adapters.models.catalog import Catalog\n"
        "from holdfast.adapters.models.settings import ModelsConfig\n"
        "c = Catalog(ModelsConfig(env={'OPENAI_API_KEY': 'k'}, probe=False))\n"
        "c.find(''); c.find('offline/rules'); c.describe(); anyio.run(c.close)\n"
        "print(*sys.modules)\n"
    )
    source = Path(__file__).resolve().parents[2] / "src"
    told = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin"},
    )
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    heavy = {"pydantic_ai", "openai", "anthropic", "google", "genai_prices", "httpx2", "pydantic"}
    assert loaded & heavy == set()


def test_a_script_that_is_used_up_fails_and_a_failure_in_it_is_raised():
    async def use() -> None:
        busy = ModelFailure("overloaded", "busy", retryable=True)
        model = ScriptedModel([busy, Reply(text="one", usage=Usage(input=5))])
        with pytest.raises(ModelFailure, match="busy"):
            await model.ask(prompt("a"), (), nothing)
        reply = await model.ask(prompt("b"), (), nothing)
        assert (reply.text, reply.usage, reply.model) == (
            "one",
            Usage(input=5, cost=0),
            "scripted/script",
        )
        with pytest.raises(ModelFailure, match="used up"):
            await model.ask(prompt("c"), (), nothing)
        assert len(model.prompts) == 3

    anyio.run(use)


def test_a_catalogue_of_one_model_has_no_other():
    one = OneModel(ScriptedModel([]))
    assert one.find("") is one.find("scripted/script")
    with pytest.raises(Invalid, match="no model 'x/y'"):
        one.find("x/y")


@pytest.mark.parametrize("url", ["http://h:99999/v1", "http://h:abc/v1", "http://h /v1"])
def test_an_address_with_a_port_that_there_is_not_is_refused_wherever_it_comes_from(url: str):
    """It was an internal error over HTTP, and ended the daemon from a file."""
    catalog = Catalog(ModelsConfig(env={}, probe=False))
    if " " not in url:
        told = ModelsConfig(
            env={}, probe=False, providers={"lab": Provider(kind="openai", base_url=url)}
        )
        with pytest.raises(Invalid, match="base_url is missing or not a URL"):
            catalog.configure(told)
    saved = SavedConnections(catalog, MemoryVault())

    async def save() -> None:
        await saved.use_server("lab", url, (), "", check=False)

    with pytest.raises(Invalid, match="not the address of a server"):
        anyio.run(save)
