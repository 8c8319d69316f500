"""The protocol's own Python client against a daemon: over JSON-RPC and over plain HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import anyio
import httpx
import pytest
from a2a.client import A2ACardResolver, A2AClientError, Client, ClientConfig, ClientFactory
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as wrong

from tests.doors.a2a_stage import A2AStage, a2a_stage

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
FORMS = ("JSONRPC", "HTTP+JSON")
_numbers = iter(range(10_000))


@pytest.fixture(scope="module")
def at() -> Generator[A2AStage]:
    with a2a_stage() as made:
        yield made


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@asynccontextmanager
async def client(
    at: A2AStage, form: str, *, streaming: bool = True, token: str = ""
) -> AsyncGenerator[Client]:
    bearer = {"Authorization": f"Bearer {token or at.token}"}
    async with httpx.AsyncClient(headers=bearer, timeout=30) as http:
        config = ClientConfig(
            streaming=streaming, httpx_client=http, supported_protocol_bindings=[form]
        )
        yield await ClientFactory(config).create_from_url(at.url)


def asked(text: str, *parts: pb.Part, task: str = "", **how: Any) -> pb.SendMessageRequest:
    message = pb.Message(
        role=pb.ROLE_USER,
        message_id=f"kit-{next(_numbers)}",
        parts=[pb.Part(text=text), *parts],
        task_id=task,
    )
    return pb.SendMessageRequest(message=message, configuration=pb.SendMessageConfiguration(**how))


async def sent(to: Client, request: pb.SendMessageRequest) -> pb.Task:
    """The last that is known of the task that a message began."""
    (told,) = [one async for one in to.send_message(request)]
    return told.task


async def test_it_sends_and_gets_the_answer(at: A2AStage, form: str) -> None:
    async with client(at, form, streaming=False) as to:
        task = await sent(to, asked("hello"))
        assert task.status.state == pb.TASK_STATE_COMPLETED
        assert task.artifacts[0].parts[0].text.endswith("one two three")
        again = await to.get_task(pb.GetTaskRequest(id=task.id))
        assert again == task
        listed = await to.list_tasks(pb.ListTasksRequest(context_id=task.context_id))
        assert [one.id for one in listed.tasks] == [task.id]


async def test_it_follows_a_stream_to_the_end(at: A2AStage, form: str) -> None:
    async with client(at, form) as to:
        told = [one async for one in to.send_message(asked("hello"))]
    assert told[0].HasField("task")
    assert told[-1].status_update.status.state == pb.TASK_STATE_COMPLETED
    text = ""
    for one in told:
        if one.HasField("artifact_update"):
            said = "".join(part.text for part in one.artifact_update.artifact.parts)
            text = text + said if one.artifact_update.append else said
    assert text.endswith("one two three")


async def test_it_comes_back_after_it_was_cut_off_and_misses_nothing(
    at: A2AStage, form: str
) -> None:
    before = len(at.model.requests)
    async with client(at, form) as to:
        stream = cast("AsyncGenerator[pb.StreamResponse]", to.send_message(asked("hold")))
        async with aclosing(stream):
            task = (await anext(stream)).task.id
    await anyio.to_thread.run_sync(at.model.wait_for_requests, before + 1)
    async with client(at, form) as to:
        told: list[pb.StreamResponse] = []
        async for one in to.subscribe(pb.SubscribeToTaskRequest(id=task)):
            told.append(one)
            if len(told) == 1:
                at.model.release(1)
    assert told[0].task.id == task
    assert told[-1].status_update.status.state == pb.TASK_STATE_COMPLETED
    assert len(at.model.requests) == before + 1  # one model call for both streams


async def test_it_cancels(at: A2AStage, form: str) -> None:
    async with client(at, form, streaming=False) as to:
        task = await sent(to, asked("hold", return_immediately=True))
        gone = await to.cancel_task(pb.CancelTaskRequest(id=task.id))
        assert gone.status.state == pb.TASK_STATE_CANCELED
        with pytest.raises(wrong.TaskNotCancelableError):
            await to.cancel_task(pb.CancelTaskRequest(id=task.id))
    async with client(at, form) as to:
        with pytest.raises(wrong.UnsupportedOperationError):
            async for _ in to.subscribe(pb.SubscribeToTaskRequest(id=task.id)):
                pass
    at.model.release()


async def test_it_answers_a_question_in_the_middle(at: A2AStage, form: str) -> None:
    async with client(at, form, streaming=False) as to:
        task = await sent(to, asked("ask me"))
        assert task.status.state == pb.TASK_STATE_INPUT_REQUIRED
        assert task.status.message.parts[0].text == "Which?"
        done = await sent(to, asked("the red one", task=task.id))
        assert done.id == task.id
        assert done.status.state == pb.TASK_STATE_COMPLETED


async def test_files_go_in_and_come_out(at: A2AStage, form: str) -> None:
    async with client(at, form, streaming=False) as to:
        file = pb.Part(raw=b"a,b\n1,2\n", filename="t.csv", media_type="text/csv")
        task = await sent(to, asked("make a file", file))
        assert task.status.state == pb.TASK_STATE_COMPLETED, task
        assert task.history[0].parts[1].raw == b"a,b\n1,2\n"
        (made,) = task.artifacts[1].parts
        assert (made.filename, made.raw) == ("made.txt", b"made here")
        values = await sent(to, asked("values"))
        assert values.artifacts[0].parts[0].data.struct_value["answer"] == 42
        strange = pb.Part(raw=b"x", media_type="application/x-strange")
        with pytest.raises(wrong.ContentTypeNotSupportedError):
            await sent(to, asked("look", strange))


async def test_it_is_told_by_a_push(at: A2AStage, form: str) -> None:
    before = len(at.hook.asked)
    push = pb.TaskPushNotificationConfig(
        id="kit",
        url=f"{at.hook.url}/hook",
        token="knows-me-well",
        authentication=pb.AuthenticationInfo(scheme="Bearer", credentials="the-credentials"),
    )
    async with client(at, form, streaming=False) as to:
        task = await sent(to, asked("hello", task_push_notification_config=push))
        with anyio.fail_after(20):
            while "COMPLETED" not in str([one.body for one in at.hook.asked[before:]]):
                await anyio.sleep(0.01)
        came = at.hook.asked[before:]
        assert all(one.headers["authorization"] == "Bearer the-credentials" for one in came)
        assert all(one.headers["x-a2a-notification-token"] == "knows-me-well" for one in came)
        last = json.loads(came[-1].body)["statusUpdate"]
        assert (last["taskId"], last["status"]["state"]) == (task.id, "TASK_STATE_COMPLETED")
        one = pb.GetTaskPushNotificationConfigRequest(task_id=task.id, id="kit")
        assert (await to.get_task_push_notification_config(one)).url == push.url
        every = pb.ListTaskPushNotificationConfigsRequest(task_id=task.id)
        assert len((await to.list_task_push_notification_configs(every)).configs) == 1
        gone = pb.DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="kit")
        await to.delete_task_push_notification_config(gone)
        with pytest.raises((A2AClientError, wrong.A2AError)):
            await to.get_task_push_notification_config(one)


async def test_without_the_right_token_it_is_turned_away(at: A2AStage, form: str) -> None:
    async with client(at, form, streaming=False, token="wrong") as to:
        with pytest.raises(A2AClientError, match="401"):
            await sent(to, asked("hello"))
        with pytest.raises(A2AClientError, match="401"):
            await to.get_task(pb.GetTaskRequest(id="task_x"))


async def test_it_gets_the_extended_card(at: A2AStage, form: str) -> None:
    async with client(at, form) as to:
        card = await to.get_extended_agent_card(pb.GetExtendedAgentCardRequest())
        assert any("write" in skill.description for skill in card.skills)


async def test_a_client_of_version_0_3_is_understood(at: A2AStage) -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {at.token}"}) as http:
        card = await A2ACardResolver(http, at.url).get_agent_card()
        old = [one for one in card.supported_interfaces if one.protocol_version == "0.3"]
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(old)
        for streaming in (False, True):
            config = ClientConfig(streaming=streaming, httpx_client=http)
            to = ClientFactory(config).create(card)
            told = [one async for one in to.send_message(asked("hello"))]
            task = told[0].task.id
            whole = await to.get_task(pb.GetTaskRequest(id=task))
            assert whole.status.state == pb.TASK_STATE_COMPLETED
            assert whole.artifacts[0].parts[0].text.endswith("one two three")
        assert told[-1].status_update.status.state == pb.TASK_STATE_COMPLETED
