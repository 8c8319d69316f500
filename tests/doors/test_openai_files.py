"""OpenAI's files: put here, named in messages, everybody's own, bounded."""

from __future__ import annotations

import base64
import dataclasses
import errno
import json
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.adapters.uploads.files import FileUploads
from holdfast.core.context import Prompt
from holdfast.core.error import NotFound
from holdfast.core.error import Refused as NoRoom
from holdfast.core.ids import Instant
from holdfast.core.message import File, PersonSaid, Reply
from holdfast.doors.http.access import Access
from holdfast.ports.model import Delta
from holdfast.runtime import upkeep, uploads
from tests.doors.house import Plan, Street, street
from tests.doors.openai_schema import valid
from tests.doors.test_openai_chat import refused

pytestmark = pytest.mark.anyio

AT = "/v1/files"
PLAIN = {"model": "scripted/script"}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


async def put(
    at: Street, data: bytes = b"hello", name: str = "notes.txt", kind: str = "", **fields: str
) -> dict[str, Any]:
    sent = (name, data, kind) if kind else (name, data)
    form = {"purpose": "user_data", **fields}
    answer = await at.tcp.post(AT, files={"file": sent}, data=form)
    assert answer.status_code == 200, answer.text
    return valid("OpenAIFile", answer.json())


async def wrong(at: Street, status: int, **sent: Any) -> dict[str, Any]:
    answer = await at.tcp.post(AT, **sent)
    assert answer.status_code == status, answer.text
    return valid("ErrorResponse", answer.json())["error"]


async def test_a_file_is_put_listed_told_given_back_and_deleted(tmp_path: Path) -> None:
    async with street(tmp_path) as at:
        one = await put(at, b"a\nb", "../../etc/notes.txt")
        assert (one["filename"], one["bytes"], one["status"]) == ("notes.txt", 3, "processed")
        assert "expires_at" not in one
        two = await put(at, PNG, "dot.png", purpose="vision")
        shown = (await at.tcp.get(f"{AT}/{one['id']}")).json()
        assert valid("OpenAIFile", shown) == one
        listed = valid("ListFilesResponse", (await at.tcp.get(AT)).json())
        assert [each["id"] for each in listed["data"]] == [two["id"], one["id"]]
        first = (await at.tcp.get(AT, params={"limit": 1, "order": "asc"})).json()
        assert (first["last_id"], first["has_more"]) == (one["id"], True)
        rest = (await at.tcp.get(AT, params={"after": one["id"], "order": "asc"})).json()
        assert (rest["first_id"], rest["has_more"]) == (two["id"], False)
        only = (await at.tcp.get(AT, params={"purpose": "vision"})).json()
        assert [each["id"] for each in only["data"]] == [two["id"]]
        given = await at.tcp.get(f"{AT}/{one['id']}/content")
        assert given.content == b"a\nb"
        assert given.headers["content-disposition"] == "attachment"
        gone = (await at.tcp.delete(f"{AT}/{one['id']}")).json()
        assert valid("DeleteFileResponse", gone)["deleted"] is True
        for path in (one["id"], f"{one['id']}/content", "file_x", "..%2f..%2ftoken"):
            missing = await at.tcp.get(f"{AT}/{path}")
            assert missing.status_code == 404
        folders = [tmp_path / "uploads", *(tmp_path / "uploads").rglob("*")]
        assert not any(stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folders)


async def test_a_file_is_named_in_a_chat_and_in_a_response(tmp_path: Path) -> None:
    shown: list[tuple[File, ...]] = []

    async def turn(prompt: Prompt, _: Callable[[Delta], None]) -> Reply:
        shown.extend(one.files for one in prompt.entries if isinstance(one, PersonSaid))
        return Reply(text="seen")

    async with street(tmp_path, turn) as at:
        notes, dot = (await put(at, b"words"))["id"], (await put(at, PNG, "dot.png"))["id"]
        part = {"type": "file", "file": {"file_id": notes}}
        said = [{"role": "user", "content": [{"type": "text", "text": "read"}, part]}]
        chat = await at.tcp.post("/v1/chat/completions", json={**PLAIN, "messages": said})
        assert chat.status_code == 200, chat.text
        parts = [
            {"type": "input_file", "file_id": notes},
            {"type": "input_image", "file_id": dot, "detail": "auto"},
        ]
        items = [{"type": "message", "role": "user", "content": parts}]
        body = {**PLAIN, "input": items}
        response = await at.tcp.post("/v1/responses", json=body)
        name = valid("Response", response.json())["id"]
        told = (await at.tcp.get(f"/v1/responses/{name}/input_items")).json()
        assert valid("ResponseItemList", told)["data"][0]["content"][0]["file_id"] == notes
        again = {**PLAIN, "input": "and now?", "previous_response_id": name}
        assert (await at.tcp.post("/v1/responses", json=again)).status_code == 200
        agent = {"model": "agent:default", "input": items}
        assert (await at.tcp.post("/v1/responses", json=agent)).status_code == 200
        (chat_files, *_) = shown
        assert [(one.name, one.media_type, one.size) for one in chat_files] == [
            ("notes.txt", "text/plain", 5)
        ]
        assert [one.media_type for one in shown[1]] == ["text/plain", "image/png"]
        assert shown[1] == shown[2] == shown[-1]
        await at.tcp.delete(f"{AT}/{notes}")
        status, error = await refused(at, again, "/v1/responses")
        assert (status, error["code"]) == (404, "file_not_found")


async def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with street(tmp_path) as at:
        mine = await put(at)
        assert (await at.local.get(f"{AT}/{mine['id']}")).status_code == 404
        assert (await at.local.delete(f"{AT}/{mine['id']}")).status_code == 404
        assert (await at.local.get(AT)).json()["data"] == []
        part = [{"type": "input_file", "file_id": mine["id"]}]
        items = [{"type": "message", "role": "user", "content": part}]
        answer = await at.local.post("/v1/responses", json={**PLAIN, "input": items})
        error = valid("ErrorResponse", answer.json())["error"]
        assert (answer.status_code, error["code"]) == (404, "file_not_found")
        assert error["param"] == "input[0].content[0].file_id"


async def test_what_is_no_file_is_refused_saying_where(tmp_path: Path) -> None:
    file = {"file": ("a.txt", b"a")}
    async with street(tmp_path, plan=Plan(access=Access(max_body=20_000))) as at:
        assert (await wrong(at, 400, json={"purpose": "vision"}))["param"] == "file"
        assert (await wrong(at, 400, files=file))["param"] == "purpose"
        assert (await wrong(at, 400, files=file, data={"purpose": "batch"}))["param"] == "purpose"
        odd = {"purpose": "vision", "odd": "1"}
        assert (await wrong(at, 400, files=file, data=odd))["code"] == "unknown_parameter"
        empty = {"file": ("a.txt", b"")}
        form = {"purpose": "vision"}
        assert (await wrong(at, 400, files=empty, data=form))["code"] == "empty_file"
        two = [("file", ("a", b"a")), ("file", ("b", b"b"))]
        assert "files" in (await wrong(at, 400, files=two, data=form))["message"]
        head = {"content-type": "multipart/form-data; boundary=x"}
        for body in (b"", b"--x", b"--x\r\nodd\r\n\r\n", b"\xff" * 100):
            assert (await wrong(at, 400, content=body, headers=head))["message"]
        none = {"content-type": "multipart/form-data"}
        assert "boundary" in (await wrong(at, 400, content=b"x", headers=none))["message"]
        large = {"file": ("a.txt", b"a" * 30_000)}
        assert (await wrong(at, 413, files=large, data=form))["message"]
        for seconds in ("60", "x", "9" * 30):
            expires = {**form, "expires_after[anchor]": "created_at"}
            expires["expires_after[seconds]"] = seconds
            found = await wrong(at, 400, files=file, data=expires)
            assert found["param"] == "expires_after[seconds]"
        for query in ({"limit": "0"}, {"limit": "x"}, {"order": "up"}, {"after": "file_x"}):
            assert (await at.tcp.get(AT, params=query)).status_code == 400
        assert (await at.tcp.get(AT)).json()["data"] == []


async def test_a_part_names_one_file(tmp_path: Path) -> None:
    async with street(tmp_path) as at:
        name = (await put(at))["id"]
        parts: list[Any] = [
            {"type": "file", "file": {"file_id": name, "file_data": "data:text/plain;base64,YQ=="}},
            {"type": "file", "file": {"file_id": 7}},
            {"type": "file", "file": {}},
        ]
        for part in parts:
            body = {**PLAIN, "messages": [{"role": "user", "content": [part]}]}
            status, error = await refused(at, body)
            assert status == 400
            assert error["param"].startswith("messages[0].content[0]")


async def test_a_file_expires_and_upkeep_takes_it_away(tmp_path: Path) -> None:
    async with street(tmp_path) as at:
        form = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
        brief = await put(at, b"brief", **form)
        assert brief["expires_at"] == brief["created_at"] + 3600
        kept = await put(at)
        by = (await at.tcp.get("/api/v1/me")).json()["by"]
        later = dataclasses.replace(at.house, clock=LaterClock(at.house.clock, 3_600_001))
        for look in (uploads.find, uploads.fetch):
            with pytest.raises(NotFound):
                await look(later, brief["id"], by)
        assert [one.id for one in await uploads.all_of(later, by)] == [kept["id"]]
        await upkeep.forget(later, 0)
        assert len(list((tmp_path / "uploads").rglob("file_*"))) == 1
        days = dataclasses.replace(at.house, clock=LaterClock(at.house.clock, 2 * 86_400_000))
        await upkeep.forget(days, 1)
        assert not list((tmp_path / "uploads").rglob("file_*"))


async def test_where_there_is_no_room_on_the_way_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(tempfile.SpooledTemporaryFile[bytes]):
        """The disk for temporary files is full."""

        def write(self, s: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", Full)
    async with street(tmp_path) as at:
        form = {"files": {"file": ("a.txt", b"x")}, "data": {"purpose": "user_data"}}
        assert (await wrong(at, 503, **form))["code"] == "not_kept"


async def test_a_damaged_file_is_its_own_trouble(tmp_path: Path) -> None:
    async with street(tmp_path) as at:
        spoilt, sound = (await put(at))["id"], (await put(at))["id"]
        (path,) = (tmp_path / "uploads").rglob(spoilt)
        path.write_bytes(b'{"id":"\xff"}\nhello')
        path.with_name(f"file_{0:032x}").symlink_to("gone")  # as if deleted while one looks
        listed = (await at.tcp.get(AT)).json()["data"]
        assert [one["id"] for one in listed] == [sound]
        later = dataclasses.replace(at.house, clock=LaterClock(at.house.clock, 2 * 86_400_000))
        await upkeep.forget(later, 1)
        assert [path.name for path in (tmp_path / "uploads").rglob("file_*[!0]")] == [spoilt]
        broken = await at.tcp.get(f"{AT}/{spoilt}")
        assert (broken.status_code, broken.json()["error"]["code"]) == (500, "file_damaged")
        assert (await at.tcp.delete(f"{AT}/{spoilt}")).status_code == 200


class LaterClock:
    """A clock that is ahead of another."""

    def __init__(self, clock: Any, by: int) -> None:
        self._clock, self._by = clock, by
        self.new_id = clock.new_id

    def now(self) -> Instant:
        return self._clock.now() + self._by


async def test_each_has_room_for_so_many_files_of_so_many_bytes(tmp_path: Path) -> None:
    names = [f"file_{number:032x}" for number in range(4)]
    kept = FileUploads(tmp_path / "uploads", most=2, room=100)
    about = json.dumps({"a": 1}).encode()

    async def keep(name: str) -> None:
        try:
            await kept.keep(name, "me", about, b"x" * 10)
        except NoRoom as full:
            refusals.append(full.code)

    refusals: list[str] = []
    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(keep, name)
    assert refusals == ["too_many_files"] * 2
    with pytest.raises(NoRoom, match="more than 100 bytes"):
        await kept.keep(names[0], "you", about, b"x" * 101)
    await kept.keep(names[0], "you", about, b"\n\nx")
    assert await kept.find(names[0], "you") == (about, b"\n\nx")
    with pytest.raises(NotFound):
        await kept.forget(names[1], "you")
    left = tmp_path / "uploads" / next((tmp_path / "uploads").iterdir()).name / ".left"
    left.write_bytes(b"half of it")
    await kept.tidy(lambda _: False)
    assert not left.exists()
    await FileUploads(tmp_path / "nothing").tidy(lambda _: True)


async def test_what_is_deleted_while_somebody_looks_is_simply_gone(tmp_path: Path) -> None:
    """Two at once: one lists, puts or tidies, the other deletes what that was about to look at."""
    kept = FileUploads(tmp_path / "uploads")
    first, second, gone = (f"file_{number:032x}" for number in range(3))
    await kept.keep(first, "me", b"{}", b"x")
    (folder,) = (tmp_path / "uploads").iterdir()
    (folder / gone).symlink_to("nowhere")  # listed, and not there when it is opened
    await kept.keep(second, "me", b"{}", b"x")
    assert await kept.all("me") == [b"{}", b"{}"]
    with pytest.raises(NotFound):
        await kept.about(gone, "me")
    await kept.tidy(lambda line: line == b"{}")
    assert await kept.all("me") == []
