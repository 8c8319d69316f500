"""`holdfast doctor`, as the assembly puts its findings together."""

from pathlib import Path

import anyio

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
