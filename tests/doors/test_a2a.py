"""Other agents give tasks over A2A: both forms of the door, what is told, and to whom."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from msgspec.structs import replace

from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import PersonSaid, Reply, ToolCall
from holdfast.ports.egress import Answer
from holdfast.runtime import keys
from holdfast.runtime.keys import NewKey
from holdfast.testing.fake_egress import FakeEgress
from tests.doors.house import PAYS, Plan, Street, client, street

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
V1 = {"A2A-Version": "1.0"}
HELLO = Reply(text="hello")
OK = Answer(status=200, headers={}, body=b"", url="")
_numbers = iter(range(10_000))


def message(text: str = "do it", **more: Any) -> dict[str, Any]:
    said = {"role": "ROLE_USER", "messageId": f"m-{next(_numbers)}", "parts": [{"text": text}]}
    return said | more


async def rpc(
    to: httpx2.AsyncClient, method: str, params: Mapping[str, Any], **headers: str
) -> dict[str, Any]:
    asked = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    answer = await to.post("/a2a", json=asked, headers={**V1, **headers})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["id"] == 7
    return said


async def result(to: httpx2.AsyncClient, method: str, params: Mapping[str, Any]) -> Any:
    said = await rpc(to, method, params)
    assert "error" not in said, said
    return said["result"]


async def sent(at: Street, **more: Any) -> dict[str, Any]:
    told = await result(at.tcp, "SendMessage", {"message": message(**more)})
    return told["task"]


async def frames(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def bodies_of(egress: FakeEgress) -> list[dict[str, Any]]:
    return [json.loads(one.request.body) for one in egress.fetched]


async def test_a_message_becomes_a_task_and_its_answer_an_artifact(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO]) as at:
        task = await sent(at)
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert task["artifacts"] == [
            {"artifactId": "answer", "name": "answer", "parts": [{"text": "hello"}]}
        ]
        assert [one["role"] for one in task["history"]] == ["ROLE_USER", "ROLE_AGENT"]
        again = await result(at.tcp, "GetTask", {"id": task["id"], "historyLength": 0})
        assert "history" not in again
        assert again["contextId"] == task["contextId"] != ""
        assert (await at.house.journal.summary(task["id"])) is not None


async def test_one_that_asks_and_is_answered_goes_on_to_the_end(tmp_path: Path) -> None:
    async with street(tmp_path, [PAYS, Reply(text="paid")]) as at:
        task = await sent(at)
        assert task["status"]["state"] == "TASK_STATE_AUTH_REQUIRED"
        values = task["status"]["message"]["parts"][-1]["data"]
        (question,) = values["questions"]
        yes = {"answer": "approve", "call": question["call"], "digest": question["digest"]}
        to = {"taskId": task["id"], "parts": [{"data": yes}]}
        assert (await sent(at, **to))["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_stream_tells_the_task_then_what_happens_to_the_end(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO]) as at:
        asked = {"jsonrpc": "2.0", "id": "s", "method": "SendStreamingMessage"}
        body = asked | {"params": {"message": message()}}
        async with at.tcp.stream("POST", "/a2a/", json=body, headers=V1) as answer:
            told = [one async for one in frames(answer)]
        kinds = [next(iter(one["result"])) for one in told]
        assert kinds[0] == "task"
        assert kinds[-2:] == ["artifactUpdate", "statusUpdate"]
        last = told[-1]["result"]["statusUpdate"]["status"]["state"]
        assert last == "TASK_STATE_COMPLETED"
        assert told[-2]["result"]["artifactUpdate"]["lastChunk"] is True


async def test_what_was_streamed_in_pieces_is_replaced_by_the_whole(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO]) as at:
        answer = await at.tcp.post("/a2a/message:stream", json={"message": message()}, headers=V1)
        pieces = [
            json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")
        ]
        text = ""
        for one in pieces:
            if update := one.get("artifactUpdate"):
                (part,) = update["artifact"]["parts"]
                text = text + part["text"] if update.get("append") else part["text"]
        assert text == "hello"


async def test_nobody_sees_the_task_of_another(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO]) as at:
        task = await sent(at)
        asked = {"jsonrpc": "2.0", "id": 7, "method": "GetTask", "params": {"id": task["id"]}}
        said = (await at.local.post("/a2a", json=asked, headers=V1)).json()
        assert said["error"]["code"] == -32001
        listed = await at.local.get("/a2a/tasks", headers=V1)
        assert listed.json() == {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}
        hers = {"message": message(contextId=task["contextId"])}
        refused = await at.local.post("/a2a/message:send", json=hers, headers=V1)
        assert refused.status_code == 400
        assert "somebody else's" in refused.json()["error"]["message"]


async def test_without_a_token_only_the_card_is_there(tmp_path: Path) -> None:
    """Row GC-78 (both places, no token, what it says, and that it can be switched off)."""
    async with street(tmp_path, [HELLO]) as at, client(at.app) as stranger:
        for path in ("/.well-known/agent-card.json", "/.well-known/agent.json"):
            card = await stranger.get(path)
            assert card.status_code == 200
            assert card.headers["cache-control"] == "public, max-age=300"
            told = card.json()
            assert told["url"] == "http://127.0.0.1:7799/a2a"
            assert {one["protocolBinding"] for one in told["supportedInterfaces"]} == {
                "JSONRPC",
                "HTTP+JSON",
            }
            assert told["capabilities"]["streaming"] is True
            assert {"id", "name", "description", "tags"} <= set(told["skills"][0])
            again = await stranger.get(path, headers={"If-None-Match": card.headers["etag"]})
            assert again.status_code == 304
        for way, path in (
            ("POST", "/a2a"),
            ("POST", "/a2a/message:send"),
            ("GET", "/a2a/tasks"),
            ("GET", "/a2a/extendedAgentCard"),
        ):
            answer = await stranger.request(way, path, headers=V1)
            assert answer.status_code == 401, path
        at.house.in_force.a2a = replace(at.house.in_force.a2a, enabled=False)
        assert (await stranger.get("/.well-known/agent-card.json")).status_code == 404
        assert (await at.tcp.get("/a2a/tasks", headers=V1)).status_code == 404


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("GetTask", {"id": "task_none"}, -32001),
        ("CancelTask", {"id": "task_none"}, -32001),
        ("SubscribeToTask", {"id": "task_none"}, -32001),
        ("NoSuchThing", {}, -32601),
        ("SendMessage", {}, -32602),
        ("SendMessage", {"message": {"role": "ROLE_USER", "messageId": "a", "parts": []}}, -32602),
        ("SendMessage", {"message": message(parts=[{}])}, -32602),
        ("SendMessage", {"message": message(parts=[{"text": "a", "url": "b"}])}, -32602),
        ("SendMessage", {"message": message(taskId="task_none")}, -32001),
        ("SendMessage", {"message": message(parts=[{"raw": "YQ==", "mediaType": "x/y"}])}, -32005),
        ("ListTasks", {"pageSize": 0}, -32602),
        ("ListTasks", {"pageToken": "?"}, -32602),
        ("GetTask", [], -32602),
    ],
)
async def test_what_cannot_be_is_said_in_the_protocols_words(
    tmp_path: Path, method: str, params: Any, code: int
) -> None:
    async with street(tmp_path) as at:
        error = (await rpc(at.tcp, method, params))["error"]
        assert error["code"] == code
        assert error["data"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"{", {}, -32700),
        (b'{"jsonrpc":"\xff"}', {}, -32700),
        (b"[]", {}, -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"GetTask"}', {}, -32600),
        (b'{"jsonrpc":"2.0","method":"GetTask"}', {}, -32600),
        (b"{}", {"content-type": "text/plain"}, -32005),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask"}', {"A2A-Version": "99.0"}, -32009),
    ],
)
async def test_what_is_no_request_is_answered_all_the_same(
    tmp_path: Path, body: bytes, headers: dict[str, str], code: int
) -> None:
    async with street(tmp_path) as at:
        base = {"content-type": "application/json", **V1}
        answer = await at.tcp.post("/a2a", content=body, headers={**base, **headers})
        assert answer.json()["error"]["code"] == code


async def test_a_task_is_cancelled_once(tmp_path: Path) -> None:
    async with street(tmp_path, [PAYS]) as at:
        task = await sent(at)
        path = f"/a2a/tasks/{task['id']}:cancel"
        gone = await at.tcp.post(path, headers=V1)
        assert gone.json()["status"]["state"] == "TASK_STATE_CANCELED"
        again = await at.tcp.post(path, headers=V1)
        assert again.status_code == 409
        (info,) = again.json()["error"]["details"]
        assert (info["reason"], info["domain"]) == ("TASK_NOT_CANCELABLE", "a2a-protocol.org")
        late = await rpc(at.tcp, "SendMessage", {"message": message(taskId=task["id"])})
        assert late["error"]["code"] == -32004
        closed = await rpc(at.tcp, "SubscribeToTask", {"id": task["id"]})
        assert closed["error"]["code"] == -32004


async def test_tasks_are_listed_the_last_moved_first_page_by_page(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO] * 5) as at:
        ids = [(await sent(at, contextId="ctx"))["id"] for _ in range(5)]
        seen: list[str] = []
        token = ""
        for size in (2, 2, 1):
            path = f"/a2a/tasks?contextId=ctx&pageSize=2&pageToken={token}"
            page = (await at.tcp.get(path, headers=V1)).json()
            assert (len(page["tasks"]), page["totalSize"]) == (size, 5)
            assert all("artifacts" not in one for one in page["tasks"])
            seen += [one["id"] for one in page["tasks"]]
            token = page["nextPageToken"]
        assert (seen, token) == (ids[::-1], "")
        whole = await at.tcp.get("/a2a/tasks?includeArtifacts=true&pageSize=1", headers=V1)
        assert whole.json()["tasks"][0]["artifacts"][0]["parts"] == [{"text": "hello"}]


async def test_files_and_values_come_in_and_go_out(tmp_path: Path) -> None:
    async def turn(prompt: Prompt, _: Any) -> Reply:
        (said,) = prompt.entries
        assert isinstance(said, PersonSaid)
        (file,) = said.files
        assert (await at.house.blobs.get(file.digest)) == b"inside"
        assert '{"a":1}' in said.text
        return Reply(text='{"found": [1, 2]}')

    async with street(tmp_path, turn) as at:
        raw = base64.b64encode(b"inside").decode()
        parts = [
            {"text": "look"},
            {"raw": raw, "filename": "a.txt", "mediaType": "text/plain"},
            {"data": {"a": 1}},
        ]
        task = await sent(at, parts=parts)
        assert task["artifacts"][0]["parts"] == [
            {"data": {"found": [1, 2]}, "mediaType": "application/json"}
        ]
        assert {"raw": raw, "filename": "a.txt", "mediaType": "text/plain"} in task["history"][0][
            "parts"
        ]


async def test_the_same_message_is_one_task_for_who_says_so(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO] * 3) as at:
        params = {"message": message()}
        once = {"A2A-Extensions": "urn:holdfast:a2a:once"}
        first, second = [
            (await rpc(at.tcp, "SendMessage", params, **once))["result"]["task"] for _ in range(2)
        ]
        assert first == second
        third = (await rpc(at.tcp, "SendMessage", params))["result"]["task"]
        assert third["id"] != first["id"]
        assert third["history"][0]["messageId"] == params["message"]["messageId"]


async def test_a_strangers_words_are_no_persons(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO]) as at:
        metadata = {"holdfast": {"sources": ["web:evil.example"]}}
        task = await sent(at, metadata=metadata)
        kept = await at.house.recorder.load(task["id"])
        assert kept.request.sources == (
            "peer:token:default",
            "peer:token:default:web:evil.example",
        )
        assert "peer:token:default" in task["metadata"]["holdfast"]["sources"]


async def test_a_push_tells_each_state_in_order_signed_and_again_until_it_is_taken(
    tmp_path: Path,
) -> None:
    egress = FakeEgress(rule=lambda request: next(answers))
    answers = iter([Answer(status=503, headers={}, body=b"", url="")] + [OK] * 9)
    async with street(tmp_path, [HELLO], plan=Plan(egress=egress)) as at:
        config = {
            "id": "here",
            "url": "https://hook.example/a2a",
            "token": "knows-me",
            "authentication": {"scheme": "Bearer", "credentials": "s3cret-credential"},
        }
        how = {"taskPushNotificationConfig": config}
        params = {"message": message(), "configuration": how}
        task = (await result(at.tcp, "SendMessage", params))["task"]
        with anyio.fail_after(5):
            while not (bodies := bodies_of(egress)) or "COMPLETED" not in str(bodies[-1]):
                await anyio.sleep(0.001)
        states = [one["statusUpdate"]["status"]["state"] for one in bodies if "statusUpdate" in one]
        assert states == ["TASK_STATE_WORKING"] * 2 + ["TASK_STATE_COMPLETED"]
        first, second, *_ = egress.fetched
        assert first.request.headers["webhook-id"] == second.request.headers["webhook-id"]
        headers = first.request.headers
        assert headers["authorization"] == "Bearer s3cret-credential"
        assert headers["x-a2a-notification-token"] == "knows-me"
        signature = base64.b64decode(headers["webhook-signature"].removeprefix("v1a,"))
        said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode()
        assert at.house.signer.check(at.house.signer.key, said + first.request.body, signature)
        shown = await result(
            at.tcp, "GetTaskPushNotificationConfig", {"taskId": task["id"], "id": "here"}
        )
        assert "s3cret" not in str(shown)
        assert "knows-me" not in str(shown)


async def test_pushes_are_set_listed_and_taken_away(tmp_path: Path) -> None:
    async with street(tmp_path, [PAYS]) as at:
        task = (await sent(at))["id"]
        base = f"/a2a/tasks/{task}/pushNotificationConfigs"
        made = await at.tcp.post(base, json={"id": "x", "url": "https://a.example/"}, headers=V1)
        assert made.json() == {"id": "x", "taskId": task, "url": "https://a.example/"}
        assert len((await at.tcp.get(base, headers=V1)).json()["configs"]) == 1
        assert (await at.tcp.get(f"{base}/x", headers=V1)).status_code == 200
        for _ in range(2):
            assert (await at.tcp.delete(f"{base}/x", headers=V1)).json() == {}
        assert (await at.tcp.get(f"{base}/x", headers=V1)).status_code == 404
        bad = await at.tcp.post(base, json={"url": "file:///etc/passwd"}, headers=V1)
        assert bad.status_code == 400
        others = await at.local.get(base, headers=V1)
        assert others.status_code == 404


async def test_version_0_3_is_spoken_in_its_own_words(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO, PAYS]) as at:
        parts = [{"kind": "text", "text": "hi"}]
        said: Json = {"kind": "message", "role": "user", "messageId": "m", "parts": parts}
        asked: Json = {"jsonrpc": "2.0", "id": 1, "method": "message/send"}
        asked["params"] = {"message": said}
        task = (await at.tcp.post("/a2a", json=asked)).json()["result"]
        assert (task["kind"], task["status"]["state"]) == ("task", "completed")
        assert task["artifacts"][0]["parts"] == [{"kind": "text", "text": "hello"}]
        assert task["history"][0]["role"] == "user"
        asked["method"] = "message/stream"
        answer = await at.tcp.post("/a2a", json=asked)
        told = [
            json.loads(line[6:])["result"]
            for line in answer.text.splitlines()
            if line.startswith("data: ")
        ]
        assert told[0]["kind"] == "task"
        assert told[-1]["kind"] == "status-update"
        assert told[-1]["final"] is True
        assert told[-1]["status"]["state"] == "auth-required"


async def test_who_is_no_person_says_a_strangers_words_and_no_yes(tmp_path: Path) -> None:
    asks = Reply(calls=(ToolCall(id=CallId("q"), tool="ask", arguments={}),))
    async with street(tmp_path, [PAYS, HELLO, asks]) as at:
        at.house.in_force.a2a = replace(at.house.in_force.a2a, persons=("user:*",))
        task = await sent(at)
        kept = await at.house.recorder.load(task["id"])
        assert kept.request.sources == ("peer:token:default",)
        question = task["status"]["message"]["parts"][-1]["data"]["questions"][0]
        yes = {"answer": "approve", "call": question["call"], "digest": question["digest"]}
        said = message(taskId=task["id"], parts=[{"data": yes}])
        refused = await rpc(at.tcp, "SendMessage", {"message": said})
        assert refused["error"]["data"][0]["metadata"]["code"] == "not_a_person"
        words = await rpc(at.tcp, "SendMessage", {"message": message("yes", taskId=task["id"])})
        assert words["error"]["data"][0]["metadata"]["code"] == "nothing_asked"
        no = {"answer": "refuse", "call": question["call"], "reason": "not now"}
        done = await sent(at, taskId=task["id"], parts=[{"data": no}])
        assert done["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_streams_of_one_task_hear_the_same_and_one_that_leaves_harms_none(
    tmp_path: Path,
) -> None:
    async with street(tmp_path, [PAYS, Reply(text="paid")]) as at:
        task = await sent(at)
        heard: dict[int, list[str]] = {}

        async def listen(number: int) -> None:
            path = f"/a2a/tasks/{task['id']}:subscribe"
            async with at.tcp.stream("POST", path, headers=V1) as answer:
                heard[number] = [line async for line in answer.aiter_lines() if line[:5] == "data:"]

        question = task["status"]["message"]["parts"][-1]["data"]["questions"][0]
        yes = {"answer": "approve", "call": question["call"], "digest": question["digest"]}
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                for number in (1, 2):
                    group.start_soon(listen, number)
                await anyio.wait_all_tasks_blocked()  # both are there
                await sent(at, taskId=task["id"], parts=[{"data": yes}])
        assert "COMPLETED" in heard[1][-1]
        assert heard[1] == heard[2]


async def test_at_most_ten_places_are_told_about_one_task(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO]) as at:
        task = (await sent(at))["id"]
        base = f"/a2a/tasks/{task}/pushNotificationConfigs"
        await at.tcp.post(base, json={"id": "x", "url": "https://hook.example/"}, headers=V1)
        with anyio.fail_after(5):
            while not [one for one in at.house.pushes.all(task) if one.over]:
                await anyio.sleep(0.001)
        for number in range(9):
            made = await at.tcp.post(
                base, json={"id": f"{number}", "url": "https://hook.example/"}, headers=V1
            )
            assert made.status_code == 200
        many = await at.tcp.post(base, json={"url": "https://hook.example/"}, headers=V1)
        assert many.status_code == 400


async def test_a_push_to_where_nothing_may_go_is_given_up_and_says_so(tmp_path: Path) -> None:
    async with street(tmp_path, [HELLO]) as at:
        how = {"taskPushNotificationConfig": {"id": "x", "url": "http://169.254.169.254/latest"}}
        params = {"message": message(), "configuration": how}
        task = (await result(at.tcp, "SendMessage", params))["task"]["id"]
        with anyio.fail_after(5):
            while not (failed := [one.failed for one in at.house.pushes.all(task) if one.failed]):
                await anyio.sleep(0.001)
        assert "egress" in failed[0]


async def keyed(at: Street, *scopes: str, agents: tuple[str, ...] = ("*",)) -> dict[str, str]:
    name = f"k{next(_numbers)}"
    new = NewKey(name=name, scopes=scopes, agents=agents)
    _, text = await keys.create(at.house, new, by="user:ann")
    return {"Authorization": f"Bearer {text}", **V1}


async def test_a_key_opens_what_it_is_for_and_no_more(tmp_path: Path) -> None:
    async with street(tmp_path, [PAYS] * 4) as at, client(at.app) as nobody:
        chats, agents = await keyed(at, "chat"), await keyed(at, "agents")
        others = await keyed(at, "agents", "chat", agents=("crew-*",))
        body = {"message": message()}
        for wrong in (chats, others):
            refused = await nobody.post("/a2a/message:send", json=body, headers=wrong)
            assert refused.status_code == 403
        run = {"threadId": "t", "runId": "r", "messages": [{"role": "user", "content": "go"}]}
        for wrong in (agents, others):
            assert (await nobody.post("/ag-ui", json=run, headers=wrong)).status_code == 403
        at.house.in_force.a2a = replace(at.house.in_force.a2a, persons=("*",))
        task = (await nobody.post("/a2a/message:send", json=body, headers=agents)).json()["task"]
        question = task["status"]["message"]["parts"][-1]["data"]["questions"][0]
        yes = {"answer": "approve", "call": question["call"], "digest": question["digest"]}
        said = {"message": message(taskId=task["id"], parts=[{"data": yes}])}
        refused = await nobody.post("/a2a/message:send", json=said, headers=agents)
        assert refused.status_code == 400
        assert "may not answer for a person" in refused.text
        told = await nobody.post("/ag-ui", json=run, headers=chats)
        asked = json.loads(told.text.strip().splitlines()[-1][6:])["outcome"]["interrupts"][0]
        answer = {"interruptId": asked["id"], "status": "resolved", "payload": {"approved": True}}
        resumed = {**run, "runId": "r2", "resume": [answer]}
        assert (await nobody.post("/ag-ui", json=resumed, headers=chats)).status_code == 403
