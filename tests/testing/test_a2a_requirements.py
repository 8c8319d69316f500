"""What A2A's compatibility kit requires of a server, checked in both forms: tasks, words, errors.

The kit itself is in no package registry. These are checks of our own for the requirements that its
public catalogue lists, each named by its id; `docs/guides/kits.md` has the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any, cast

import httpx2
import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from tests.testing.a2a_forms import FORMS, Peer, message, state

pytestmark = pytest.mark.timeout(120)
ERRORS = {
    "TASK_NOT_FOUND": {"jsonrpc": -32001, "http_json": 404},
    "TASK_NOT_CANCELABLE": {"jsonrpc": -32002, "http_json": 409},
    "UNSUPPORTED_OPERATION": {"jsonrpc": -32004, "http_json": 400},
    "CONTENT_TYPE_NOT_SUPPORTED": {"jsonrpc": -32005, "http_json": 415},
    "VERSION_NOT_SUPPORTED": {"jsonrpc": -32009, "http_json": 400},
}
"""Section 5.4 of version 1.0.0, the one that the kit's branch for 1.0 holds servers against."""


@pytest.fixture(params=FORMS)
def to(request: pytest.FixtureRequest, sut: str) -> Generator[Peer]:
    peer = Peer(request.param, f"{sut}/a2a")
    yield peer
    peer.close()


def is_error(answer: Any, reason: str) -> None:
    assert (answer.reason, answer.code) == (reason, ERRORS[reason][answer_form(answer)])


def answer_form(answer: Any) -> str:
    return "jsonrpc" if "jsonrpc" in answer.said else "http_json"


def test_the_card_is_there_and_says_what_is_served(sut: str) -> None:
    """CARD-DISC-001, CARD-PROTO-001, CARD-PROTO-002, CARD-STRUCT-001, CARD-CACHE-001 to -002."""
    answer = httpx2.get(f"{sut}/.well-known/agent-card.json")
    card = answer.json()
    read = ParseDict(card, pb.AgentCard(), ignore_unknown_fields=True)
    assert all((read.name, read.description, read.version, read.skills))
    assert read.default_input_modes
    assert read.default_output_modes
    assert all(one.id and one.name and one.description and one.tags for one in read.skills)
    served = {(one.protocol_binding, one.protocol_version) for one in read.supported_interfaces}
    assert served == {("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3")}
    assert {one.url for one in read.supported_interfaces} == {f"{sut}/a2a"}
    assert "max-age" in answer.headers["cache-control"]
    same = {"If-None-Match": answer.headers["etag"]}
    assert httpx2.get(answer.url, headers=same).status_code == 304


def test_who_may_ask_sees_more_of_the_card(to: Peer) -> None:
    """CARD-EXT-001."""
    assert len(to.ask("GetExtendedAgentCard").result["skills"]) > 1


def test_a_message_becomes_a_task_with_an_id_of_its_own(to: Peer) -> None:
    """CORE-SEND-001, CORE-MULTI-001, CORE-MULTI-001a, CORE-MULTI-003, DM-TASK-001 to -002,
    DM-MSG-001 to -002, DM-PART-001, DM-ART-001, DM-STATUS-001, DM-SERIAL-001 to -004."""
    first, second = to.task("complete-task"), to.task("complete-task")
    assert first["id"] != second["id"]
    assert first["contextId"]
    assert state(first) == "COMPLETED"
    stamps = re.findall(r'"timestamp": "([^"]*)"', json.dumps(first))
    assert stamps
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", one) for one in stamps)
    assert [key for key in keys(first) if re.fullmatch(r"[a-z]+(_[a-z]+)+", key)] == []


def keys(of: Any) -> Generator[str]:
    """Every name in it, however deep."""
    if isinstance(of, dict):
        table = cast("dict[str, Any]", of)
        yield from table
        of = list(table.values())
    if isinstance(of, list):
        for one in cast("list[Any]", of):
            yield from keys(one)


def test_a_context_of_the_client_is_kept(to: Peer) -> None:
    """CORE-MULTI-002, CORE-MULTI-002a."""
    wanted = f"tck-client-context-{to.form}"
    said = message("complete-task", contextId=wanted)
    answer = to.ask("SendMessage", message=said)
    assert answer.result["task"]["contextId"] == wanted


@pytest.mark.parametrize(
    ("scenario", "part"),
    [
        ("artifact-text", {"text": "Generated text content"}),
        ("artifact-data", {"data": {"key": "value", "count": 42}, "mediaType": "application/json"}),
        ("artifact-file", {"filename": "output.txt", "mediaType": "text/plain"}),
    ],
)
def test_what_was_made_is_an_artifact(to: Peer, scenario: str, part: dict[str, Any]) -> None:
    """DM-ART-001, DM-PART-001."""
    parts = [one for made in to.task(scenario)["artifacts"] for one in made["parts"]]
    assert any(part.items() <= one.items() for one in parts), parts


def test_a_task_that_has_ended_takes_no_message(to: Peer) -> None:
    """CORE-SEND-002."""
    over = to.task("complete-task")
    more = message("terminal", taskId=over["id"])
    is_error(to.ask("SendMessage", message=more), "UNSUPPORTED_OPERATION")


def test_a_kind_of_part_that_is_not_read_is_refused(to: Peer) -> None:
    """CORE-SEND-003."""
    strange = {"raw": "dGNr", "mediaType": "application/x-unsupported-tck-type"}
    answer = to.ask("SendMessage", message=message("send-003", parts=[strange]))
    is_error(answer, "CONTENT_TYPE_NOT_SUPPORTED")


def test_a_task_is_got_as_it_is(to: Peer) -> None:
    """CORE-GET-001."""
    made = to.task("artifact-text")
    assert to.ask("GetTask", id=made["id"]).result == made


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("GetTask", {"id": "tck-nonexistent"}),
        ("CancelTask", {"id": "tck-nonexistent"}),
        ("SubscribeToTask", {"id": "tck-nonexistent"}),
        ("SendMessage", {"message": message("multi-004", taskId="tck-nonexistent")}),
    ],
)
def test_what_is_not_there_is_not_found(to: Peer, operation: str, fields: dict[str, Any]) -> None:
    """CORE-GET-002, CORE-CANCEL-003, CORE-MULTI-004, STREAM-SUB-004, CORE-ERR-001."""
    answer = to.ask(operation, **fields)
    is_error(answer, "TASK_NOT_FOUND")
    assert answer.error
    assert isinstance(answer.error["message"], str)


def test_tasks_are_listed_page_by_page_the_last_moved_first(to: Peer) -> None:
    """CORE-LIST-001 to CORE-LIST-005."""
    context = f"tck-listed-{to.form}"
    made = [to.task("artifact-text", contextId=context)["id"] for _ in range(3)]
    first = to.ask("ListTasks", contextId=context, pageSize=2).result
    assert first["nextPageToken"]
    rest = {"pageSize": 2, "pageToken": first["nextPageToken"]}
    second = to.ask("ListTasks", contextId=context, **rest).result
    assert second["nextPageToken"] == ""
    tasks = first["tasks"] + second["tasks"]
    assert [one["id"] for one in tasks] == made[::-1]
    stamps = [one["status"]["timestamp"] for one in tasks]
    assert stamps == sorted(stamps, reverse=True)
    assert not any("artifacts" in one for one in tasks)
    whole = to.ask("ListTasks", contextId=context, pageSize=100, includeArtifacts=True).result
    assert all(one["artifacts"] for one in whole["tasks"])
    nobody = to.ask("ListTasks", contextId="tck-test-context", includeArtifacts=False).result
    assert (nobody["tasks"], nobody["nextPageToken"]) == ([], "")


def test_a_task_is_cancelled_and_one_that_has_ended_is_not(to: Peer) -> None:
    """CORE-CANCEL-001, CORE-CANCEL-002."""
    waits, over = to.task("input-required"), to.task("complete-task")
    gone = to.ask("CancelTask", id=waits["id"]).result
    assert (gone["id"], state(gone)) == (waits["id"], "CANCELED")
    is_error(to.ask("CancelTask", id=over["id"]), "TASK_NOT_CANCELABLE")


def test_an_answer_waits_unless_it_is_told_not_to(to: Peer) -> None:
    """CORE-EXECUTION-MODE-001, CORE-EXECUTION-MODE-002, AUTH-INTASK-001, AUTH-INTASK-002."""
    assert state(to.task("delayed-complete", how={"returnImmediately": False})) == "COMPLETED"
    soon = to.task("delayed-complete", how={"returnImmediately": True})
    assert state(soon) in ("SUBMITTED", "WORKING")
    assert state(to.task("input-required")) == "INPUT_REQUIRED"
    asks = to.task("auth-required")
    assert state(asks) == "AUTH_REQUIRED"
    assert state(to.ask("GetTask", id=asks["id"]).result) == "AUTH_REQUIRED"


def test_a_task_that_waits_is_gone_on_with(to: Peer) -> None:
    """CORE-MULTI-005, CORE-EXECUTION-MODE-001, CORE-HIST-004 to CORE-HIST-006."""
    asks = to.task("input-required")
    more = message("complete-task", "the blue one", taskId=asks["id"])
    over = to.ask("SendMessage", message=more).result["task"]
    assert (state(over), over["contextId"]) == ("COMPLETED", asks["contextId"])
    history = to.ask("GetTask", id=asks["id"], historyLength=10).result["history"]
    said = [(one["role"], one["parts"][0]["text"]) for one in history]
    assert said == [
        ("ROLE_USER", "as told"),
        ("ROLE_AGENT", "Which one?"),
        ("ROLE_USER", "the blue one"),
        ("ROLE_AGENT", "Hello from TCK"),
    ]


def test_as_much_history_comes_as_is_asked_for(to: Peer) -> None:
    """CORE-HIST-001 to CORE-HIST-003."""
    asks = to.task("input-required")
    more = message("complete-task", taskId=asks["id"])
    none: dict[str, Any] = {"historyLength": 0}
    over = to.ask("SendMessage", message=more, configuration=none).result["task"]
    assert not over.get("history")
    assert not to.ask("GetTask", id=asks["id"], **none).result.get("history")
    assert len(to.ask("GetTask", id=asks["id"], historyLength=1).result["history"]) == 1


def test_a_task_in_another_context_than_the_message_says_is_refused(to: Peer) -> None:
    """CORE-MULTI-006."""
    asks = to.task("input-required")
    wrong = message("mismatch", taskId=asks["id"], contextId="tck-wrong-context")
    assert to.ask("SendMessage", message=wrong).error


def test_what_is_no_message_is_refused_before_anything_is_done(to: Peer) -> None:
    """CORE-ERR-002."""
    assert to.ask("SendMessage").error
    assert to.ask("SendMessage", message={}).error
    assert to.ask("SendMessage", message={"role": 7, "parts": "x"}).error


def test_what_is_not_known_is_left_alone(to: Peer) -> None:
    """DM-SERIAL-005, JSONRPC-SVC-002, HTTP_JSON-SVC-002."""
    said = message("dm-serial-005", tckUnknownField="should-be-ignored")
    named = {"A2A-Version": "1.0", "A2A-Extensions": "https://example.com/v1, https://example.com"}
    answer = to.ask("SendMessage", named, message=said, tckExtraParam=42)
    assert state(answer.result) == "COMPLETED"


def test_the_version_that_is_named_is_spoken_or_refused(to: Peer) -> None:
    """VER-SERVER-001 to VER-SERVER-003, VER-CLIENT-002."""
    said = message("ver")
    answer = to.ask("SendMessage", {"A2A-Version": "99.0"}, message=said)
    is_error(answer, "VERSION_NOT_SUPPORTED")
    assert to.ask("SendMessage", {"A2A-Version": "1.0.7"}, message=said).error is None
    empty = to.ask("SendMessage", {"A2A-Version": ""}, message=said)
    assert empty.status == 200


def test_a_body_of_another_kind_is_refused(to: Peer) -> None:
    """JSONRPC-SSE-002, HTTP_JSON-STATUS-001."""
    inside: Any = {"message": message("ct")}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": inside}
    body = json.dumps(call if to.form == "jsonrpc" else inside).encode()
    answer = to.bare(body, {"Content-Type": "text/plain"})
    is_error(answer, "CONTENT_TYPE_NOT_SUPPORTED")


def test_answers_and_errors_have_the_form_of_their_binding(to: Peer) -> None:
    """JSONRPC-FMT-001 to -002, JSONRPC-SVC-001, JSONRPC-ERR-001 to -003, HTTP_JSON-SVC-001,
    HTTP_JSON-URL-001 to -002, HTTP_JSON-QP-001, HTTP_JSON-ERR-001 to -002."""
    good, bad = to.send("complete-task"), to.ask("GetTask", id="tck-nonexistent")
    assert bad.error
    assert bad.headers["content-type"].startswith("application/json")
    if to.form == "jsonrpc":
        assert good.headers["content-type"].startswith("application/json")
        assert set(bad.error) == {"code", "message", "data"}
        unknown = to.bare(b'{"jsonrpc":"2.0","id":1,"method":"NonExistent"}', JSON)
        assert unknown.code == -32601
    else:
        assert good.headers["content-type"].startswith("application/a2a+json")
        assert set(bad.error) == {"code", "status", "message", "details"}
        assert (bad.error["code"], bad.error["status"]) == (bad.status, "NOT_FOUND")


JSON = {"Content-Type": "application/json"}
