"""A daemon that other agents' clients talk with: its model held back and let go by the test."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_script import RecordedRequest, Reply, ScriptedCall
from holdfast.testing.model_server import Catalogue, ModelServer
from holdfast.testing.website import Asked, Website
from holdfast.testing.website import Reply as Page


class A2AStage(Struct, kw_only=True):
    """What a test needs: where to ask, who one is, and the other ends."""

    url: str
    token: str
    daemon: Daemon
    model: ModelServer
    hook: Website


def says(request: RecordedRequest) -> Reply:
    """What the last person's words want: a held answer, a question, a file, or an echo."""
    said = json.dumps(request.messages)
    last = request.messages[-1]
    text = str(last.get("content"))
    if last.get("role") == "tool":
        return Reply(text="done as asked")
    if "show the map" in text:
        tools = [one["function"]["name"] for one in request.body.get("tools", [])]
        name = next((one for one in tools if one.endswith("show_map")), "no_such_tool")
        return Reply(calls=(ScriptedCall(name=name, arguments={"city": "Rome"}),))
    if "make a file" in text:
        made = {"path": "made.txt", "content": "made here"}
        return Reply(calls=(ScriptedCall(name="write", arguments=made),))
    if "remove it" in text:
        return Reply(calls=(ScriptedCall(name="delete", arguments={"path": "made.txt"}),))
    if "ask me" in text:
        return Reply(calls=(ScriptedCall(name="ask_person", arguments={"question": "Which?"}),))
    if "hold" in text:
        return Reply(text="held until now", hold=True)
    if "break down" in text:
        return Reply(status=400, text="no")
    if "values" in text:
        return Reply(text='{"answer": 42}')
    return Reply(text=f"you said {len(said) > 0}: one two three", chunks=3)


@contextmanager
def a2a_stage() -> Generator[A2AStage]:
    def taken(_: Asked) -> Page:
        return Page(body=b"{}", headers={"content-type": "application/json"})

    with (
        stage("a2a") as place,
        ModelServer(rule=says, catalogue=Catalogue(models=("scripted",))) as model,
        Website(rule=taken) as hook,
        Daemon(
            place / "home", {"HOLDFAST_SERVER_HTTP": "true", "HOLDFAST_SERVER_PORT": "0"}
        ) as daemon,
    ):
        use_model(daemon.home, model.url)
        port = hook.url.rpartition(":")[2].strip("/")
        with (daemon.home / "config.toml").open("a") as config:
            config.write(
                '[policy]\npreset = "open"\n'
                '[[policy.rule]]\ntool = "delete"\nsay = "ask"\n[egress]\nprivate = ["127.0.0.1"]\n'
                f'[[egress.allow]]\nhost = "127.0.0.1"\nport = {port}\ntools = ["push"]\n'
            )
        daemon.start()
        (url,) = [one for one in daemon.get("/api/v1/status")["listening"] if "http" in one]
        token = (Path(daemon.home) / "token").read_text().strip()
        yield A2AStage(url=url, token=token, daemon=daemon, model=model, hook=hook)
