"""One client for both forms of A2A: what a check asks is said once, and judged in either."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict
from msgspec import Struct

FORMS = ("jsonrpc", "http_json")
VERSION = {"A2A-Version": "1.0"}
_PATHS: dict[str, tuple[str, str]] = {
    "SendMessage": ("POST", "/message:send"),
    "SendStreamingMessage": ("POST", "/message:stream"),
    "GetTask": ("GET", "/tasks/{id}"),
    "ListTasks": ("GET", "/tasks"),
    "CancelTask": ("POST", "/tasks/{id}:cancel"),
    "SubscribeToTask": ("POST", "/tasks/{id}:subscribe"),
    "CreateTaskPushNotificationConfig": ("POST", "/tasks/{taskId}/pushNotificationConfigs"),
    "GetTaskPushNotificationConfig": ("GET", "/tasks/{taskId}/pushNotificationConfigs/{id}"),
    "ListTaskPushNotificationConfigs": ("GET", "/tasks/{taskId}/pushNotificationConfigs"),
    "DeleteTaskPushNotificationConfig": ("DELETE", "/tasks/{taskId}/pushNotificationConfigs/{id}"),
    "GetExtendedAgentCard": ("GET", "/extendedAgentCard"),
}
_ANSWERS: dict[str, Any] = {
    "SendMessage": pb.SendMessageResponse,
    "GetTask": pb.Task,
    "ListTasks": pb.ListTasksResponse,
    "CancelTask": pb.Task,
    "CreateTaskPushNotificationConfig": pb.TaskPushNotificationConfig,
    "GetTaskPushNotificationConfig": pb.TaskPushNotificationConfig,
    "ListTaskPushNotificationConfigs": pb.ListTaskPushNotificationConfigsResponse,
    "GetExtendedAgentCard": pb.AgentCard,
}


class Answer(Struct, kw_only=True):
    """What came back: the payload without its envelope, or the error with the form's own code."""

    status: int
    headers: httpx2.Headers
    said: dict[str, Any]
    result: Any = None
    error: dict[str, Any] | None = None

    @property
    def code(self) -> int:
        """The number that stands for the error in this form."""
        assert self.error, f"it succeeded: {self.said}"
        return int(self.error["code"])

    @property
    def reason(self) -> str:
        """The word that stands for it in both."""
        assert self.error
        infos: list[dict[str, Any]] = self.error.get("data") or self.error.get("details") or []
        (info,) = infos
        assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
        assert info["domain"] == "a2a-protocol.org"
        return str(info["reason"])


class Peer:
    """Whoever asks, in one form. Every payload is read with the protocol's own types, strictly."""

    def __init__(self, form: str, url: str) -> None:
        self.form, self.url = form, url
        self._http = httpx2.Client(timeout=30)

    def close(self) -> None:
        self._http.close()

    def ask(self, operation: str, headers: dict[str, str] = VERSION, /, **fields: Any) -> Answer:
        answer = self._http.send(self._request(operation, headers, fields))
        return self._read(operation, answer)

    @contextmanager
    def follow(self, operation: str, /, **fields: Any) -> Generator[Iterator[dict[str, Any]]]:
        """A stream of payloads. Raises `AssertionError` if an answer comes instead of one."""
        request = self._request(operation, VERSION, fields)
        answer = self._http.send(request, stream=True)
        try:
            assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
            yield self._events(answer)
        finally:
            answer.close()

    def bare(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Whatever body, where messages are sent to."""
        path = "" if self.form == "jsonrpc" else "/message:send"
        answer = self._http.post(self.url + path, content=body, headers=VERSION | headers)
        return self._read("SendMessage", answer)

    def send(self, scenario: str, text: str = "as told", /, how: Any = None, **more: Any) -> Answer:
        """A message that asks for a scenario of the kit."""
        said = message(scenario, text, **more)
        return self.ask("SendMessage", message=said, configuration=how or {})

    def task(self, scenario: str, **more: Any) -> dict[str, Any]:
        answer = self.send(scenario, **more)
        assert answer.error is None, answer.error
        return answer.result["task"]

    def _request(
        self, operation: str, headers: dict[str, str], fields: dict[str, Any]
    ) -> httpx2.Request:
        if self.form == "jsonrpc":
            body = {"jsonrpc": "2.0", "id": 1, "method": operation, "params": fields}
            return self._http.build_request("POST", self.url + "/", json=body, headers=headers)
        way, path = _PATHS[operation]
        inside = {name for name in ("id", "taskId") if f"{{{name}}}" in path}
        rest = {name: value for name, value in fields.items() if name not in inside}
        where = self.url + path.format(**fields)
        if way == "POST":
            body = rest or None
            kind = {"Content-Type": "application/json"}
            return self._http.build_request(way, where, json=body, headers=headers | kind)
        plain = {name: _in_query(value) for name, value in rest.items()}
        return self._http.build_request(way, where, params=plain, headers=headers)

    def _read(self, operation: str, answer: httpx2.Response) -> Answer:
        said: dict[str, Any] = answer.json() if answer.content else {}
        read = Answer(status=answer.status_code, headers=answer.headers, said=said)
        if self.form == "jsonrpc":
            assert (answer.status_code, said["jsonrpc"]) == (200, "2.0")
            assert ("result" in said) != ("error" in said)
        if "error" in said:
            read.error = said["error"]
            return read
        assert answer.status_code < 400
        result: dict[str, Any] = said["result"] if self.form == "jsonrpc" else said
        read.result = result
        if kind := _ANSWERS.get(operation):
            ParseDict(result, kind())
        return read

    def _events(self, answer: httpx2.Response) -> Iterator[dict[str, Any]]:
        for line in answer.iter_lines():
            if not line.startswith("data:"):
                continue
            told = json.loads(line.removeprefix("data:"))
            if self.form == "jsonrpc":
                assert (told["jsonrpc"], told["id"]) == ("2.0", 1)
                told = told["result"]
            ParseDict(told, pb.StreamResponse())
            yield told


def message(scenario: str, text: str = "as told", **more: Any) -> dict[str, Any]:
    """What a person says; the id names the scenario, as the kit has it."""
    name = f"tck-{scenario}-1"
    return {"role": "ROLE_USER", "parts": [{"text": text}], "messageId": name} | more


def state(told: dict[str, Any]) -> str:
    """How the task is, by whatever was told of it."""
    inside = told.get("task") or told.get("statusUpdate") or told
    return str(inside.get("status", {}).get("state", "")).removeprefix("TASK_STATE_")


def _in_query(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
