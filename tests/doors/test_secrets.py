"""Secrets through the doors: they go in, and no door ever shows one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import load
from holdfast.config.secrets import check_box, to_passphrase, to_planted, to_unsayable
from holdfast.core.error import Invalid, NotAllowed
from holdfast.core.redact import Redactor
from tests.doors.cli_stage import Stage, Terminal, staged
from tests.doors.house import Street, street

VALUE = "canary-value-0123456789"
ROW: dict[str, Any] = {
    "name": "github",
    "terms": {"grants": ["default"], "per_minute": 5, "max_uses": 9, "note": "for pushes"},
    "uses": 3,
    "last_used": 1,
    "short": False,
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


async def said(house: Street, target: str, body: dict[str, Any] | None = None) -> Any:
    """What the door says; the value is never in it."""
    if body is None:
        answer = await house.tcp.get(target)
    else:
        answer = await house.tcp.post(target, json=body)
    assert VALUE not in answer.text
    return answer.json() | {"status": answer.status_code}


@pytest.mark.anyio
async def test_secrets_go_in_over_http_and_only_names_and_terms_come_out(tmp_path: Path):
    """Row OC-93."""
    async with street(tmp_path) as house:
        made = await said(
            house, "/api/v1/secrets", {"name": "github", "value": VALUE, "max_uses": 2}
        )
        assert (made["status"], made["name"], made["terms"]["max_uses"]) == (200, "github", 2)
        granted = await said(house, "/api/v1/secrets/grant", {"name": "github", "agent": "crew-*"})
        assert granted["terms"]["grants"] == ["crew-*"]
        safe = house.house.secrets
        assert await safe.use("github", agent="crew-1", task="t", tool="http") == VALUE
        again = await said(house, "/api/v1/secrets", {"name": "github", "note": "x"})
        assert again["terms"] == made["terms"] | {"grants": ["crew-*"], "note": "x"}
        (row,) = (await said(house, "/api/v1/secrets"))["secrets"]
        assert (row["name"], row["uses"]) == ("github", 1)
        assert not {"value", "recent", "log"} & set(row)
        (use,) = (await said(house, "/api/v1/secrets/uses?name=github"))["uses"]
        assert (use["agent"], use["task"], use["tool"]) == ("crew-1", "t", "http")
        revoked = await said(house, "/api/v1/secrets/revoke", {"name": "github", "agent": "crew-*"})
        assert revoked["terms"]["grants"] == []
        made = await said(house, "/api/v1/secrets/generate", {"name": "db", "charset": "hex"})
        assert (made["name"], made["status"]) == ("db", 200)
        taken = await said(
            house, "/api/v1/secrets/import", {"text": f"A={VALUE}", "prefix": "shop/"}
        )
        assert [one["name"] for one in taken["secrets"]] == ["shop/a"]
        gone = await said(house, "/api/v1/secrets/delete", {"name": "github"})
        assert (gone["deleted"], len((await said(house, "/api/v1/secrets"))["secrets"])) == (
            True,
            2,
        )


@pytest.mark.anyio
async def test_what_is_refused_is_refused_without_telling_the_value(tmp_path: Path):
    async with street(tmp_path) as house:
        await said(house, "/api/v1/secrets", {"name": "github", "value": VALUE})
        for target, body, status, code in (
            ("/api/v1/secrets", {"name": "Bad Name", "value": VALUE}, 422, "bad_name"),
            ("/api/v1/secrets", {"name": "x", "value": " "}, 422, "bad_secret"),
            ("/api/v1/secrets", {"name": "x", "value": VALUE, "per_minute": 601}, 422, "invalid"),
            ("/api/v1/secrets", {"name": "x", "value": [VALUE]}, 422, "invalid"),
            (
                "/api/v1/secrets",
                {"name": "login/codex", "value": VALUE},
                403,
                "secret_of_the_house",
            ),
            ("/api/v1/secrets", {"name": "nothing", "note": "x"}, 404, "secret_not_found"),
            ("/api/v1/secrets/grant", {"name": "nothing", "agent": "a"}, 404, "secret_not_found"),
            ("/api/v1/secrets/grant", {"name": VALUE, "agent": "a"}, 404, "secret_not_found"),
            ("/api/v1/secrets/generate", {"name": "github"}, 409, "secret_exists"),
            ("/api/v1/secrets/import", {"text": f"{VALUE}\n"}, 422, "bad_env_file"),
            ("/api/v1/vault/seal", {"how": "passphrase", "passphrase": VALUE}, 403, "local_only"),
        ):
            found = await said(house, target, body)
            assert (found["status"], found["code"]) == (status, code), target


@pytest.mark.anyio
async def test_the_vault_is_sealed_otherwise_only_through_the_socket(tmp_path: Path):
    async with street(tmp_path) as house:
        assert (await said(house, "/api/v1/vault"))["kept"] == "file"
        assert (await said(house, "/api/v1/vault/rotate", {}))["sealed"] == 0
        body = {"how": "passphrase", "passphrase": VALUE}
        sealed = (await house.local.post("/api/v1/vault/seal", json=body)).json()
        assert sealed["kept"] == "passphrase"
        short = await house.local.post("/api/v1/vault/seal", json=body | {"passphrase": "x"})
        assert short.json()["code"] == "bad_passphrase"


@pytest.mark.anyio
async def test_the_same_request_with_a_secret_in_it_is_the_same_task(tmp_path: Path):
    async with street(tmp_path) as house:
        before = await house.submit(f"log in with {VALUE}", key=f"key-{VALUE}")
        await said(house, "/api/v1/secrets", {"name": "github", "value": VALUE})
        for key, prompt in (("k", f"log in with {VALUE}"), (f"k-{VALUE}", VALUE)):
            first = await house.submit(prompt, key=key)
            assert (await house.submit(prompt, key=key))["id"] == first["id"] != before["id"]


@pytest.mark.anyio
async def test_a_bundle_has_no_secret_that_became_known_only_later(tmp_path: Path):
    async with street(tmp_path, says=[]) as house:
        row = await house.done(f"my password is {VALUE}")
        await said(house, "/api/v1/secrets", {"name": "github", "value": VALUE})
        answer = await house.tcp.get(f"/api/v1/tasks/{row['id']}/bundle")
        assert answer.status_code == 200
        import io
        import zipfile

        files = zipfile.ZipFile(io.BytesIO(answer.content))
        texts = [files.read(name).decode() for name in files.namelist()]
        assert not any(VALUE in text for text in texts)
        assert any("<<SECRET_github>>" in text for text in texts)


def test_a_value_that_is_typed_is_not_shown_and_never_an_argument(stage: Stage):
    stage.daemon.canned["/api/v1/secrets"] = {**ROW, "terms": {"grants": []}}
    with Terminal(stage, "secret", "set", "github", out=False) as terminal:
        before = terminal.until("Value of github, not shown: ")
        terminal.type(f"{VALUE}\n")
        code, out = terminal.end()
        assert code == 0, terminal.seen
        assert VALUE not in f"{before}{terminal.seen}{out}"
    assert out == "$SECRET{github} is kept\n"
    assert stage.daemon.asked("POST", "/api/v1/secrets") == [{"name": "github", "value": VALUE}]
    refused = stage.run("secret", "set", "github", VALUE)
    assert (refused.code, "never an argument" in refused.err) == (2, True)
    assert VALUE not in refused.err
    assert stage.run("secret", "set", "github").code == 2, "nobody is there to type it"


def test_the_commands_say_what_they_did(stage: Stage):
    canned = stage.daemon.canned
    canned["/api/v1/secrets"] = {"secrets": [ROW]}
    canned["/api/v1/secrets/generate"] = ROW
    canned["/api/v1/secrets/grant"] = ROW
    canned["/api/v1/secrets/revoke"] = {**ROW, "terms": {}}
    canned["/api/v1/secrets/delete"] = {"name": "github", "deleted": True}
    canned["/api/v1/secrets/import"] = {"secrets": [ROW]}
    canned["/api/v1/secrets/uses"] = {"uses": [{"at": 1, "agent": "a", "tool": "http"}]}
    canned["/api/v1/vault"] = {"kept": "file", "secrets": 1}
    canned["/api/v1/vault/rotate"] = {"kept": "keyring", "secrets": 1, "sealed": 4}
    canned["/api/v1/vault/seal"] = {"kept": "passphrase", "secrets": 1, "sealed": 4}
    file = stage.folder / "x.env"
    file.write_text(f"A={VALUE}\n")
    for words, said in (
        (("secret",), "for pushes"),
        (("secret", "list"), "5 a minute, 9 in all"),
        (("secret", "generate", "github", "--length", "40"), "$SECRET{github} is made"),
        (("secret", "grant", "github", "default"), "github may be used by default"),
        (("secret", "revoke", "github", "default"), "github may be used by nobody"),
        (("secret", "delete", "github"), "github is forgotten"),
        (("secret", "import", str(file), "--prefix", "p/"), "$SECRET{github}"),
        (("secret", "show-uses", "github"), "http"),
        (("vault",), "in a private file of the home"),
        (("vault", "rotate"), "4 entries are sealed with a new key"),
    ):
        done = stage.run(*words)
        assert (done.code, said in done.out) == (0, True), f"{words}: {done.out}{done.err}"
        assert stage.run(*words, "--json").out.startswith("{")
    assert stage.run("vault", "seal").code == 2
    assert stage.run("vault", "seal", "--file", "--keyring").code == 2
    done = stage.run("vault", "seal", "--passphrase", "--stdin", stdin=f"{VALUE}\n".encode())
    assert (done.code, VALUE in f"{done.out}{done.err}") == (0, False)
    assert stage.daemon.asked("POST", "/api/v1/vault/seal")[-1]["passphrase"] == VALUE
    assert (
        stage.run("secret", "set", "x", "--keep", "--expires", "0", "--per-minute", "7").code == 0
    )
    body = stage.daemon.asked("POST", "/api/v1/secrets")[-1]
    assert body == {"name": "x", "per_minute": 7, "expires_at": 0}


def configured(home: Path, text: str = "", **env: str) -> Any:
    (home / "config.toml").write_text(text)
    return load(environment={"HOLDFAST_HOME": str(home), **env})


def test_variables_and_a_file_are_kept_as_secrets_at_the_start(tmp_path: Path):
    """Part of row OL-25."""
    (tmp_path / "agents.env").write_text(
        "HOLDFAST_SECRET_A=one-of-the-file\nexport B_C='two'\nD=\n"
    )
    environment = {"HOLDFAST_SECRET_A": "of the environment", "HOLDFAST_SECRET_": "x", "OTHER": "y"}
    config = configured(tmp_path, '[vault]\nenv_file = "agents.env"\n')
    planted = to_planted(config, environment)
    assert planted == [("a", "of the environment"), ("b_c", "two")]
    (tmp_path / "agents.env").write_text("not a variable, but canary\n")
    with pytest.raises(Invalid, match="line 1 is not NAME=value") as refused:
        to_planted(config, environment)
    assert "canary" not in str(refused.value)
    (tmp_path / "agents.env").unlink()
    with pytest.raises(Invalid, match="cannot be read"):
        to_planted(config, environment)


def test_the_passphrase_comes_from_a_variable_or_a_private_file(tmp_path: Path):
    file = tmp_path / "phrase"
    file.write_text("from the file\nand not this\n")
    file.chmod(0o600)
    named = {"HOLDFAST_VAULT_PASSPHRASE_FILE": str(file)}
    assert to_passphrase(configured(tmp_path, **named)) == "from the file"
    both = configured(tmp_path, HOLDFAST_VAULT_PASSPHRASE="from the variable", **named)
    assert to_passphrase(both) == "from the variable"
    assert "from the variable" not in repr(both.describe())
    file.chmod(0o644)
    with pytest.raises(NotAllowed, match="others may read"):
        to_passphrase(configured(tmp_path, **named))
    beside = configured(tmp_path, '[vault]\npassphrase = "beside the vault"\n')
    assert "beside what it protects" in beside.warnings[0]
    assert to_passphrase(configured(tmp_path)) == ""


def test_keys_of_the_configuration_and_of_the_environment_are_never_said(tmp_path: Path):
    text = """[models.providers.lab]
base_url = "http://x.test"
api_key = "canary-lab"
api_key_env = "LAB_TOKEN"
"""
    environment = {
        "OPENAI_API_KEY": "canary-openai-key",
        "LAB_TOKEN": "short",
        "A_TOKEN": "on",
        "X": VALUE,
    }
    found = dict(to_unsayable(configured(tmp_path, text), environment))
    assert found == {
        "models.providers.lab.api_key": "canary-lab",
        "OPENAI_API_KEY": "canary-openai-key",
        "LAB_TOKEN": "short",
    }


@pytest.mark.parametrize(
    ("variable", "refused"),
    [("GH_TOKEN = 'x'", True), (f"HARMLESS = 'a {VALUE}'", True), ("TZ = 'UTC'", False)],
)
def test_a_box_environment_that_would_give_a_secret_away_is_refused(
    tmp_path: Path, variable: str, refused: bool
):
    """Part of row KV-27."""
    config = configured(tmp_path, f"[box.environment]\n{variable}\n")
    known = Redactor([("github", VALUE)])
    if not refused:
        check_box(config, known.holds)
        return
    with pytest.raises(Invalid, match=variable.split(" ", maxsplit=1)[0]) as error:
        check_box(config, known.holds)
    assert error.value.code == "secret_in_box"
    assert VALUE not in str(error.value)
