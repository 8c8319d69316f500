"""`holdfast doctor`, as the assembly puts its findings together."""

from pathlib import Path

import anyio

from holdfast.adapters.vaults.files import FileVault
from holdfast.assembly import examine, prepare
from holdfast.config import load


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
