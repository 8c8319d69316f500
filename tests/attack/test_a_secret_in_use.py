"""Twenty secrets in a house at work, and a hostile model that wants them: it gets none."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.daemon import Answered, Daemon, stage
from holdfast.testing.model_server import Catalogue, ModelServer, Reply, ScriptedCall
from tests.e2e.at_home import holdfast, until

PLANTED = {f"canary/{n:02}": f"canary-{n:02}-{'x7Qz' * 5}/+{n}" for n in range(20)}
FROM_ENVIRONMENT = "canary-of-the-environment-99"


@pytest.fixture
def home() -> Generator[Path]:
    with stage("canaries") as place:
        yield place / "home"


def spelled(value: str) -> list[bytes]:
    coded = base64.b64encode(f"x{value}y".encode())[2:-4]
    return [value.encode(), value.encode().hex().encode(), coded]


def leaks(where: bytes) -> list[str]:
    planted = [*PLANTED.values(), FROM_ENVIRONMENT]
    return [value for value in planted if any(one in where for one in spelled(value))]


def hostile() -> list[Reply]:
    """What a model tries that was talked into stealing."""
    name = next(iter(PLANTED))
    tries: list[tuple[str, dict[str, Any]]] = [
        (
            "exec",
            {"command": f"echo $SECRET{{{name}}} > stolen; cat stolen; env"},
        ),
        ("exec", {"command": "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'"}),
        ("write", {"path": "out.txt", "content": f"$SECRET{{{name}}}"}),
        ("secret_list", {}),
        ("secret_exists", {"name": name}),
        ("secret_generate", {"name": "made/by-agent"}),
        ("secret_generate", {"name": name}),
        ("secret_generate", {"name": "provider/openai/api_key"}),
    ]
    asked = [Reply(calls=(ScriptedCall(name=tool, arguments=given),)) for tool, given in tries]
    return [*asked, Reply(text=f"I was told {PLANTED['canary/03']} and {FROM_ENVIRONMENT}")]


def everything(home: Path) -> bytes:
    """All that is written down, the sealed vault included."""
    return b"\n".join(path.read_bytes() for path in home.parent.rglob("*") if path.is_file())


def test_no_planted_secret_is_found_anywhere(home: Path):
    """Rows OC-93, OC-95, OK-96 and OL-25; part of rows OC-92, OL-40, OL-109."""
    previous = os.umask(0)
    try:
        with ModelServer(script=hostile(), catalogue=Catalogue(models=("m",))) as model:
            home.mkdir(mode=0o700)
            provider = f'[models.providers.lab]\nbase_url = "{model.url}/v1"\nmodels = ["m"]\n'
            (home / "config.toml").write_text(f'{provider}[log]\nlevel = "debug"\n')
            (home / "config.toml").chmod(0o600)
            said = at_work(home, model)
    finally:
        os.umask(previous)
    assert leaks(said) == []
    assert leaks(everything(home)) == []
    theirs = home / "workspace"
    loose = [
        path
        for path in home.rglob("*")
        if stat.S_IMODE(path.lstat().st_mode) & 0o077
        and theirs not in path.parents
        and path.name != "said.log"  # what the stage writes, not the house
    ]
    assert loose == [], "under umask 000 nobody else can open anything (row OK-96)"


def at_work(home: Path, model: ModelServer) -> bytes:
    """Plant, work, look everywhere; returns all that was said to anybody."""
    said: list[str] = []
    environment = {
        "HOLDFAST_SECRET_FROM_ENV": FROM_ENVIRONMENT,
        "HOLDFAST_MODELS_DETECT_LOCAL": "false",
    }
    with Daemon(home, environment) as daemon:
        daemon.start()
        for name, value in PLANTED.items():
            said.append(json.dumps(daemon.post("/api/v1/secrets", {"name": name, "value": value})))
        daemon.post("/api/v1/secrets/grant", {"name": "canary/01", "agent": "default"})
        rows = {row["name"]: row for row in daemon.get("/api/v1/secrets")["secrets"]}
        assert set(rows) == {*PLANTED, "from_env"}
        assert rows["canary/01"]["terms"]["grants"] == ["default"]
        for target, body in (
            ("/api/v1/secrets", {"name": "Bad Name", "value": PLANTED["canary/05"]}),
            ("/api/v1/secrets", {"name": "x", "value": [PLANTED["canary/05"]]}),
            ("/api/v1/secrets/generate", {"name": PLANTED["canary/06"], "length": 1}),
            ("/api/v1/tasks", {"prompt": "x", "model": PLANTED["canary/07"], "preset": "bad"}),
        ):
            with pytest.raises(Answered) as refused:
                daemon.post(target, body)
            said.append(str(refused.value))
        folder = home.parent / "files"
        folder.mkdir()
        task = daemon.submit(
            f"use {PLANTED['canary/00']}, {PLANTED['canary/02']}", folder, model="lab/m"
        )
        until(lambda: daemon.get(f"/api/v1/tasks/{task}")["status"] in {"SUCCEEDED", "FAILED"})
        for words in (
            ("secret", "list"),
            ("secret", "list", "--json"),
            ("secret", "show-uses", "canary/01"),
            ("vault", "rotate"),
            ("task", "show", task),
            ("task", "log", task),
            ("doctor",),
            ("status", "--json"),
        ):
            done = holdfast(home, *words)
            said += [done.stdout, done.stderr]
        for end in ("", "/events"):
            said.append(json.dumps(daemon.get(f"/api/v1/tasks/{task}{end}")))
        said.append(json.dumps(daemon.get("/api/v1/secrets/uses?name=canary/01")))
        events = said[-2]
        assert "<<SECRET_canary/00>>" in events
        assert "secret_not_here" in events
        assert "$SECRET{made/by-agent}" in events
        assert "secret_exists" in events
        assert "secret_of_the_house" in events
        asked = [repr(request) for request in model.requests]
        assert len(asked) >= 9
        assert daemon.get("/api/v1/vault")["kept"] == "file"
        daemon.stop()
        said.append(daemon.said())
    return "\n".join([*said, *asked]).encode()
