"""`holdfast doctor`, as the assembly puts its findings together."""

from pathlib import Path

import anyio

from holdfast.adapters.vaults.files import FileVault
from holdfast.assembly import examine, prepare
from holdfast.config import load
from holdfast.runtime import doctor
from holdfast.runtime.permissions import exposed


def test_no_language_model_is_a_warning_that_says_what_to_do(tmp_path: Path):
    environment = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_MODELS_DETECT_LOCAL": "false"}
    prepare(tmp_path)
    for key, level, hint in (("", "warn", "set a key such as"), ("k", "ok", "")):
        given = {**environment, "ANTHROPIC_API_KEY": key}
        findings = anyio.run(examine, load(environment=given), given)
        found = next(finding for finding in findings if finding.name == "model")
        assert (found.level, found.hint[:17]) == (level, hint)


def test_what_takes_the_place_of_a_built_in_provider_is_said(tmp_path: Path):
    """Part of row OK-90."""
    given = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_MODELS_DETECT_LOCAL": "false"}
    prepare(tmp_path)
    mine = '[models.providers.openai]\nbase_url = "http://127.0.0.1:9/v1"\nmodels = ["m"]\n'
    (tmp_path / "config.toml").write_text(mine)
    findings = anyio.run(examine, load(environment=given), given)
    found = next(finding for finding in findings if finding.name == "provider: openai")
    assert (found.level, found.detail) == ("warn", "takes the place of the built-in openai")


def test_a_secret_that_others_may_read_is_a_failure_that_says_what_to_do(tmp_path: Path):
    given = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_MODELS_DETECT_LOCAL": "false"}
    prepare(tmp_path)
    FileVault(tmp_path / "vault").put("provider/openai/api_key", "sk-canary-0123456789")
    config = load(environment=given)
    for mode, level in ((0o600, "ok"), (0o644, "fail")):
        (tmp_path / "vault" / "provider~openai~api_key").chmod(mode)
        findings = anyio.run(examine, config, given)
        found = next(finding for finding in findings if finding.name == "vault")
        assert found.level == level
        assert ("chmod" in found.hint) is (level == "fail")
        assert "sk-canary" not in repr(findings)


def test_every_file_that_others_may_open_is_named_and_can_be_closed(tmp_path: Path):
    """Row OK-97."""
    given = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_MODELS_DETECT_LOCAL": "false"}
    prepare(tmp_path)
    FileVault(tmp_path / "vault").put("provider/openai/api_key", "sk-canary-0123456789")
    anyio.run(examine, load(environment=given), given)
    vault = tmp_path / "vault"
    (tmp_path / "config.toml").touch(mode=0o600)
    for name in ("logs/holdfast.log", "models.json", "run/model-health.json", "outbox/x.json"):
        (tmp_path / name).touch(mode=0o600)
    (tmp_path / "workspace" / "mine.txt").touch(mode=0o644)
    assert [one.level for one in permissions(given)] == ["ok"]
    files = [one for one in sorted(tmp_path.rglob("*")) if "workspace/" not in str(one)]
    assert {vault / ".key", tmp_path / "holdfast.db", tmp_path / "token"} <= set(files)
    for path in files:
        mode = path.stat().st_mode
        path.chmod(mode | 0o044)
        (found,) = exposed(tmp_path)
        assert found.path == path
        path.chmod(mode)
    (vault / ".key").chmod(0o644)
    (found,) = permissions(given)
    assert (found.level, found.hint[:13]) == ("fail", "chmod go-rwx ")
    assert f"{vault / '.key'} has mode 0644" in found.detail
    for path in files:
        path.chmod(path.stat().st_mode | 0o007)
    assert len(doctor.fixed(tmp_path)) == len(files)
    assert [one.level for one in permissions(given)] == ["ok"]
    assert (tmp_path / "workspace" / "mine.txt").stat().st_mode & 0o777 == 0o644


def permissions(given: dict[str, str]) -> list[doctor.Finding]:
    found = anyio.run(examine, load(environment=given), given)
    return [one for one in found if one.name == "permissions"]


def test_a_vault_that_cannot_be_opened_is_a_failure_that_says_what_to_do(tmp_path: Path):
    given = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_MODELS_DETECT_LOCAL": "false"}
    prepare(tmp_path)
    vault = FileVault(tmp_path / "vault")
    vault.put("provider/openai/api_key", "sk-canary-0123456789")
    vault.seal("passphrase", "a long passphrase")
    for phrase, level in (("", "fail"), ("another one", "fail"), ("a long passphrase", "ok")):
        env = {**given, "HOLDFAST_VAULT_PASSPHRASE": phrase}
        found = anyio.run(examine, load(environment=env), env)
        (about,) = [one for one in found if one.name == "vault"]
        assert about.level == level
        assert bool(about.hint) is (level == "fail")
