"""The official conformance suite examines our client: all scenarios of both revisions, and more."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.npm import installed, node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
CLIENT = Path(__file__).with_name("mcp_conformance.py")
_BOTH = (
    "tools_call",
    "json-schema-2020-12-preservation",
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
)
SCENARIOS = {
    "2025-11-25": (
        *_BOTH,
        "initialize",
        "elicitation-sep1034-client-defaults",
        "sse-retry",
    ),
    "2026-07-28": (
        *_BOTH,
        "request-metadata",
        "http-standard-headers",
        "http-custom-headers",
        "http-invalid-tool-headers",
        "json-schema-ref-no-deref",
        "sep-2322-client-request-state",
        "auth/resource-mismatch",
        "auth/offline-access-scope",
        "auth/offline-access-not-supported",
        "auth/authorization-server-migration",
        "auth/iss-supported",
        "auth/iss-not-advertised",
        "auth/iss-supported-missing",
        "auth/iss-wrong-issuer",
        "auth/iss-unexpected",
        "auth/iss-normalized",
        "auth/metadata-issuer-mismatch",
    ),
}
EARLIER = ("auth/2025-03-26-oauth-metadata-backcompat", "auth/2025-03-26-oauth-endpoint-fallback")
EXTENSIONS = ("auth/client-credentials-jwt", "auth/client-credentials-basic")
# How soon a stream is taken up again depends on how busy this machine is: late is no failure.
LATE = {"client-sse-retry-timing"}


def suite(*words: str) -> subprocess.CompletedProcess[str]:
    kit = installed("conformance") / "node_modules" / "@modelcontextprotocol" / "conformance"
    return subprocess.run(
        [node(), str(kit / "dist" / "index.js"), *words],
        cwd=ROOT,
        env={"PATH": str(Path(node()).parent), "PYTHONPATH": ":".join((str(ROOT), *sys.path))},
        capture_output=True,
        text=True,
        timeout=350,
        check=False,
    )


@pytest.mark.parametrize(
    ("revision", "scenario"),
    [
        *((revision, one) for revision, all_ in SCENARIOS.items() for one in all_),
        *(("2025-11-25", one) for one in EARLIER),
        *((revision, one) for revision in SCENARIOS for one in EXTENSIONS),
    ],
)
def test_every_check_of_a_scenario_passes(revision: str, scenario: str, tmp_path: Path):
    """Part of rows KV-49, KV-53, GC-94."""
    command = ("--command", f"{sys.executable} {CLIENT}", "--scenario", scenario)
    more = ("--spec-version", revision, "--timeout", "120000", "--force", "-o", str(tmp_path))
    told = suite("client", *command, *more)
    results = list(tmp_path.rglob("checks.json"))
    assert results, told.stdout + told.stderr
    checks = json.loads(results[0].read_text(encoding="utf-8"))
    bad = [
        (one["id"], one["status"], one.get("errorMessage") or one["description"])
        for one in checks
        if one["status"] == "FAILURE" or (one["status"] == "WARNING" and one["id"] not in LATE)
    ]
    assert not bad, (bad, told.stdout[-3_000:], told.stderr[-3_000:])
    assert any(one["status"] == "SUCCESS" for one in checks)


@pytest.mark.parametrize("revision", sorted(SCENARIOS))
def test_no_scenario_of_a_revision_is_left_out(revision: str):
    listed = suite("list", "--client").stdout
    found = re.findall(r"- (\S+) \[([^]]*)]", listed)
    assert {name for name, revisions in found if revision in revisions} == set(SCENARIOS[revision])
