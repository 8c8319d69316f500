"""Boxes at home: a task has one while it works, and none once it has ended."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from holdfast.testing.daemon import Daemon, stage
from holdfast.testing.model_script import RecordedRequest
from holdfast.testing.model_server import Catalogue, ModelServer, Reply, ScriptedCall
from tests.e2e.at_home import files, until


@pytest.fixture
def home() -> Generator[Path]:
    with stage("boxes") as place:
        (place / "home").mkdir(mode=0o700)
        yield place / "home"


def at_work(request: RecordedRequest) -> Reply:
    """A model that has a command wait for a file, and is content with whatever it says."""
    if "it went" in repr(request.body):
        return Reply(text="done")
    command = "touch begun; while [ ! -e go ]; do sleep 0.05; done; printf 'it w%s' ent"
    return Reply(calls=(ScriptedCall(name="exec", arguments={"command": command}),))


@pytest.mark.parametrize("cancelled", [False, True], ids=["which ends", "which is cancelled"])
def test_a_task_has_a_box_while_it_works_and_none_afterwards(home: Path, *, cancelled: bool):
    workspace = files(home)
    with ModelServer(rule=at_work, catalogue=Catalogue(models=("m",))) as model:
        (home / "config.toml").write_text(
            f'[models]\ndefault = "lab/m"\n'
            f'[models.providers.lab]\nbase_url = "{model.url}/v1"\nmodels = ["m"]\n'
        )
        with Daemon(home) as daemon:
            daemon.start()

            def owners() -> set[str]:
                return {row["owner"] for row in daemon.get("/api/v1/boxes")["boxes"]}

            task = daemon.submit("wait", workspace)
            until((workspace / "begun").exists)
            assert task in owners()
            if cancelled:
                daemon.post(f"/api/v1/tasks/{task}/cancel", {})
            else:
                (workspace / "go").touch()
            until(lambda: task not in owners())
            daemon.stop()
