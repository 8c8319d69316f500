"""Version 0.3 of the protocol over JSON-RPC: other words for the same operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from holdfast.core.error import HoldfastError
from holdfast.core.foreign import NotJson, decoded

from . import operations, pushing
from . import words as w
from .asking import Asking
from .faults import InvalidParams, MethodNotFound, as_rpc

Json = dict[str, Any]

SEND, STREAM, RESUBSCRIBE = "message/send", "message/stream", "tasks/resubscribe"
_SETTINGS = ("acceptedOutputModes", "historyLength")
_STATES = {one: one.removeprefix("TASK_STATE_").lower().replace("_", "-") for one in w.State}


async def plain(ask: Asking, method: str, params: Raw) -> Any:
    """What an operation that is answered at once gives. Raises `MethodNotFound`."""
    told = _object(params)
    match method:
        case "tasks/get":
            return _task(await operations.get(ask, _converted(told, w.OneTask)))
        case "tasks/cancel":
            return _task(await operations.cancel(ask, _converted(told, w.OneTask)))
        case "agent/getAuthenticatedExtendedCard":
            return await operations.extended_card(ask, w.Nothing())
        case "tasks/pushNotificationConfig/set":
            config = _push_in(told.get("pushNotificationConfig"), str(told.get("taskId", "")))
            return _push(await pushing.create(ask, config))
        case "tasks/pushNotificationConfig/list":
            task = w.Pushes(task_id=str(told.get("id", "")))
            return [_push(one) for one in (await pushing.listing(ask, task)).configs]
        case "tasks/pushNotificationConfig/get":
            return _push(await pushing.get(ask, await _one_push(ask, told)))
        case "tasks/pushNotificationConfig/delete":
            await pushing.delete(ask, await _one_push(ask, told))
            return None
        case _:
            raise MethodNotFound(f"there is no method {method[:80]!r}")


def sending(params: Raw) -> w.Sending:
    """A message as version 1.0 has it."""
    told = _object(params)
    settings = cast("Json", told.get("configuration") or {})
    blocking = settings.get("blocking", True)
    new: Json = {
        "message": _message_in(told.get("message")),
        "configuration": {key: value for key, value in settings.items() if key in _SETTINGS}
        | {"returnImmediately": not blocking},
    }
    found = _converted(new, w.Sending)
    if push := settings.get("pushNotificationConfig"):
        push_config = _push_in(push, "")
        made = replace(found.configuration, task_push_notification_config=push_config)
        found = replace(found, configuration=made)
    return found


def subscribed(params: Raw) -> w.OneTask:
    return _converted(_object(params), w.OneTask)


def shown(told: w.Told) -> Json:
    """One thing that is told, as version 0.3 has it."""
    if isinstance(told.task, w.Task):
        return _task(told.task)
    if isinstance(told.status_update, w.StatusUpdate):
        status = told.status_update.status
        over = status.state in w.TERMINAL | w.INTERRUPTED
        update = _plain(told.status_update)
        return update | {"kind": "status-update", "status": _status(status), "final": over}
    made = cast("w.ArtifactUpdate", told.artifact_update)
    update = _plain(made) | {"append": made.append, "lastChunk": made.last_chunk}
    return update | {"kind": "artifact-update", "artifact": _artifact(made.artifact)}


def framed(call_id: Any, told: w.Told) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": call_id, "result": shown(told)})


def failed(call_id: Any, error: HoldfastError) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": call_id, "error": as_rpc(error)})


# Coming in.


def _object(params: Raw) -> Json:
    try:
        return decoded(params, dict[str, Any])
    except NotJson as error:
        raise InvalidParams(f"params: {error}") from None


def _converted(told: Mapping[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise InvalidParams(str(error)) from None


def _message_in(told: Any) -> Json:
    if not isinstance(told, dict):
        raise InvalidParams("message: expected an object")
    message = cast("Json", told)
    parts = message.get("parts")
    if not isinstance(parts, list):
        raise InvalidParams("message.parts: expected a list")
    roles = {"user": "ROLE_USER", "agent": "ROLE_AGENT"}
    role = roles.get(str(message.get("role")), "ROLE_UNSPECIFIED")
    found = [_part_in(one) for one in cast("list[Any]", parts)]
    return message | {"role": role, "parts": found}


def _part_in(told: Any) -> Json:
    part = cast("Json", told) if isinstance(told, dict) else {}
    match part.get("kind"):
        case "text":
            return {"text": part.get("text")}
        case "data":
            return {"data": part.get("data")}
        case "file" if isinstance(part.get("file"), dict):
            file = cast("Json", part["file"])
            new: Json = {
                "filename": file.get("name") or "",
                "mediaType": file.get("mimeType") or "",
            }
            both = {"raw": file.get("bytes"), "url": file.get("uri")}
            return new | {key: value for key, value in both.items() if value is not None}
        case _:
            raise InvalidParams("message.parts: expected parts of the kind text, file or data")


def _push_in(told: Any, task: str) -> w.PushConfig:
    config = cast("Json", told) if isinstance(told, dict) else {}
    schemes = cast("Json", config.get("authentication") or {})
    names = cast("list[str]", schemes.get("schemes") or [""])
    new = {key: config[key] for key in ("id", "url", "token") if config.get(key)}
    proof = {"scheme": names[0], "credentials": schemes.get("credentials") or ""}
    return _converted(new | {"taskId": task, "authentication": proof}, w.PushConfig)


async def _one_push(ask: Asking, told: Json) -> w.OnePush:
    """Where none is named, the first is meant."""
    task, name = str(told.get("id", "")), told.get("pushNotificationConfigId")
    if not name:
        found = (await pushing.listing(ask, w.Pushes(task_id=task))).configs
        name = found[0].id if found else ""
    return w.OnePush(task_id=task, id=str(name))


# Going out.


def _plain(said: w.Word) -> Json:
    return cast("Json", msgspec.to_builtins(said))


def _task(task: w.Task) -> Json:
    told = _plain(task) | {"kind": "task", "status": _status(task.status)}
    if task.artifacts:
        told["artifacts"] = [_artifact(one) for one in task.artifacts]
    if task.history:
        told["history"] = [_message(one) for one in task.history]
    return told


def _status(status: w.TaskStatus) -> Json:
    told: Json = {"state": _STATES[status.state], "timestamp": status.timestamp}
    if isinstance(status.message, w.Message):
        told["message"] = _message(status.message)
    return told


def _artifact(made: w.Artifact) -> Json:
    return _plain(made) | {"parts": list(map(_part, made.parts))}


def _message(said: w.Message) -> Json:
    role = "user" if said.role == "ROLE_USER" else "agent"
    return _plain(said) | {"kind": "message", "role": role, "parts": list(map(_part, said.parts))}


def _part(part: w.Part) -> Json:
    told = _plain(part)
    if "text" in told:
        return {"kind": "text", "text": told["text"]}
    if "data" in told:
        values = told["data"]
        return {"kind": "data", "data": values if isinstance(values, dict) else {"values": values}}
    names = {"raw": "bytes", "url": "uri", "filename": "name", "mediaType": "mimeType"}
    file = {names[key]: value for key, value in told.items() if key in names}
    return {"kind": "file", "file": file}


def _push(config: w.PushConfig) -> Json:
    told: Json = {"id": config.id, "url": config.url}
    if isinstance(config.authentication, w.Authentication):
        told["authentication"] = {"schemes": [config.authentication.scheme]}
    return {"taskId": config.task_id, "pushNotificationConfig": told}
