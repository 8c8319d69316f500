"""A machine that has been taken over: whatever it says, nothing here is touched that is not its."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes.microvm.box import MicroVMBox
from holdfast.adapters.boxes.microvm.guest.frames import WINDOW
from holdfast.adapters.boxes.microvm.packages import chosen, files
from holdfast.core.error import Invalid, NotFound, Unavailable
from tests.adapters.hostile_guest import Answers, Guest, Order, a_box

pytestmark = pytest.mark.anyio


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "outside").write_text("untouched")
    return tmp_path / "workspace"


@asynccontextmanager
async def facing(
    workspace: Path, answers: dict[str, Answers], *, hidden: tuple[str, ...] = ()
) -> AsyncGenerator[tuple[MicroVMBox, Guest]]:
    box, guest = a_box(workspace, answers, hidden=hidden)
    async with anyio.create_task_group() as group:
        group.start_soon(guest.serve)
        try:
            with anyio.fail_after(20):
                yield box, guest
        finally:
            with anyio.CancelScope(shield=True):
                await box.destroy()
            group.cancel_scope.cancel()
    guest.close()


def bringing(*items: tuple[str, dict[str, object]]) -> dict[str, Answers]:
    """A guest that, asked for what has changed, brings files of these names."""

    def answer(guest: Guest, order: Order, _body: bytes) -> None:
        for path, more in items:
            head = {"kind": "file", "mode": 0o644, "offset": 0, "last": True, **more}
            guest.say(b"hostile", do=head.pop("do", "item"), id=order["id"], path=path, **head)
        guest.say(do="done", id=order["id"])

    return {"changes": answer}


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/x", "a/../../outside", ".", "", "a//b", "./a", "a\0b", "\u0394"]
)
async def test_a_name_that_leads_elsewhere_ends_the_box(workspace: Path, path: str) -> None:
    async with facing(workspace, bringing((path, {}))) as (box, _):
        with pytest.raises(Unavailable) as gone:
            await box.exec(["true"])
        assert gone.value.code == "box_gone"
        with pytest.raises(Unavailable):
            await box.exec(["true"])
    assert (workspace.parent / "outside").read_text() == "untouched"
    assert list(workspace.iterdir()) == []


async def test_a_file_is_not_written_through_a_link(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (workspace / "link").symlink_to(tmp_path / "elsewhere")
    (workspace / "file").symlink_to(tmp_path / "outside")
    async with facing(workspace, bringing(("link/x", {}), ("file", {}))) as (box, _):
        out = await box.exec(["true"])
    assert b"stay in the box: link/x" in out.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "outside").read_text() == "untouched"
    assert (workspace / "file").read_text() == "hostile"


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../outside", "a/../../outside", "l/../x", "..", "", "/", "b\0c"]
)
async def test_a_link_that_could_lead_out_stays_in_the_box(workspace: Path, target: str) -> None:
    items = bringing(("link", {"kind": "link", "link": target}))
    async with facing(workspace, items) as (box, _):
        out = await box.exec(["true"])
    assert b"stay in the box: link" in out.stderr
    assert list(workspace.iterdir()) == []


async def test_links_inside_come_out(workspace: Path) -> None:
    items = bringing(
        ("d", {"kind": "folder", "mode": 0o755}),
        ("d/up", {"kind": "link", "link": "../x"}),
        ("abs", {"kind": "link", "link": f"{workspace}/x"}),
    )
    async with facing(workspace, items) as (box, _):
        assert (await box.exec(["true"])).stderr == b""
    assert (workspace / "d" / "up").readlink() == Path("../x")


async def test_rights_beyond_reading_writing_and_running_are_dropped(workspace: Path) -> None:
    async with facing(workspace, bringing(("tool", {"mode": 0o106755}))) as (box, _):
        await box.exec(["true"])
    assert (workspace / "tool").stat().st_mode == 0o100755


@pytest.mark.parametrize("do", ["item", "gone"])
async def test_hidden_folders_are_neither_filled_nor_removed(workspace: Path, do: str) -> None:
    (workspace / "a" / ".holdfast").mkdir(parents=True)
    (workspace / "a" / ".holdfast" / "key").write_text("a secret")
    hidden = ("a/.holdfast",)
    into = bringing(("a/.holdfast/key", {"do": do}), ("a/.holdfast", {"do": do}))
    async with facing(workspace, into, hidden=hidden) as (box, guest):
        await box.exec(["true"])
        told = json.dumps([order for order, _ in guest.heard])
        assert "key" not in told
    over = bringing(("a", {"do": do}))
    async with facing(workspace, over, hidden=hidden) as (box, _):
        with pytest.raises(Unavailable):
            await box.exec(["true"])
    assert (workspace / "a" / ".holdfast" / "key").read_text() == "a secret"


async def test_more_than_fits_into_the_box_does_not_come_out(workspace: Path) -> None:
    def large(guest: Guest, order: Order, _body: bytes) -> None:
        for offset in range(0, 200_000, 20_000):
            guest.file(order["id"], "large", bytes(20_000), offset=offset, last=False)

    def much(guest: Guest, order: Order, _body: bytes) -> None:
        for number in range(10):
            guest.file(order["id"], f"f{number}", b"x" * 90_000)

    def many(guest: Guest, order: Order, _body: bytes) -> None:
        for number in range(120):
            guest.file(order["id"], f"f{number}", b"x")

    for answer in (large, much, many):
        async with facing(workspace, {"changes": answer}) as (box, _):
            with pytest.raises(Unavailable):
                await box.exec(["true"])
    assert not (workspace / "large").exists()
    assert not [each for each in workspace.iterdir() if each.name.startswith(".holdfast")]


async def test_pieces_out_of_order_end_the_box(workspace: Path) -> None:
    def answer(guest: Guest, order: Order, _body: bytes) -> None:
        guest.file(order["id"], "a", b"x", offset=0, last=False)
        guest.file(order["id"], "a", b"x", offset=50_000)

    async with facing(workspace, {"changes": answer}) as (box, _):
        with pytest.raises(Unavailable, match="out of order"):
            await box.exec(["true"])
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize(
    "noise",
    [
        b"\xff\xff\xff\xff\x00\x00\x00\x00",
        b"\x00\x00\x00\x03\x00\x00\x00\x00[1]",
        b"\x00\x00\x00\x02\x00\x00\x00\x00{]",
        b'\x00\x00\x00\x16\x00\x00\x00\x00{"do":"device","id":1}',
        b'\x00\x00\x00\x14\x00\x00\x00\x00{"do":"exit","id":""}',
    ],
)
async def test_what_makes_no_sense_ends_the_box(workspace: Path, noise: bytes) -> None:
    def answer(guest: Guest, _order: Order, _body: bytes) -> None:
        guest.raw(noise)

    async with facing(workspace, {"run": answer}) as (box, _):
        with pytest.raises(Unavailable) as gone:
            await box.exec(["true"])
        assert gone.value.code == "box_gone"


async def test_what_nobody_asked_for_is_dropped(workspace: Path) -> None:
    def answer(guest: Guest, order: Order, _body: bytes) -> None:
        for number in (-1, 0, 12345, 2**40):
            guest.say(b"flood" * 1000, do="data", id=number, stream="stdout")
        guest.exits(order["id"])

    async with facing(workspace, {"run": answer}) as (box, _):
        out = await box.exec(["true"])
        assert (out.code, out.stdout) == (0, b"")


async def test_a_flood_past_the_window_ends_the_box(workspace: Path) -> None:
    def answer(guest: Guest, order: Order, _body: bytes) -> None:
        for _ in range(4 * WINDOW // 30_000):
            guest.say(bytes(30_000), do="data", id=order["id"], stream="stdout")

    async with facing(workspace, {"run": answer}) as (box, _):
        with pytest.raises(Unavailable):
            async with box.start(["true"]) as command:
                await command.wait()


async def test_an_exit_code_out_of_this_world_is_put_right(workspace: Path) -> None:
    def answer(guest: Guest, order: Order, _body: bytes) -> None:
        for stream in ("stdout", "stderr"):
            guest.say(do="end", id=order["id"], stream=stream)
        guest.say(do="exit", id=order["id"], code=-(2**60), processes=-5)

    async with facing(workspace, {"run": answer}) as (box, _):
        assert (await box.exec(["true"])).code == -64


async def test_what_cannot_be_told_is_told_again_the_next_time(workspace: Path) -> None:
    (workspace / "a").write_text("hello")
    failing = [True]

    def answer(guest: Guest, order: Order, _body: bytes) -> None:
        if failing:
            failing.clear()
            guest.say(do="failed", id=order["id"], why="OSError: no space left")
        guest.say(do="done", id=order["id"])

    async with facing(workspace, {"mark": answer}) as (box, guest):
        with pytest.raises(Unavailable, match="no space"):
            await box.exec(["true"])
        await box.exec(["true"])
        puts = [body for order, body in guest.heard if order["do"] == "put"]
        assert puts == [b"hello", b"hello"]
        await box.exec(["true"])
        assert len([order for order, _ in guest.heard if order["do"] == "put"]) == 2


async def test_put_and_get_follow_no_link(workspace: Path, tmp_path: Path) -> None:
    (workspace / "out").symlink_to(tmp_path / "outside")
    (workspace / "up").symlink_to(tmp_path)
    async with facing(workspace, {}) as (box, _):
        await box.put("a", b"hello")
        assert await box.get("a", 4) == b"hell"
        for path in ("out", "up/outside", "../outside", "/etc/passwd", "", "."):
            with pytest.raises(Invalid):
                await box.put(path, b"hostile")
            with pytest.raises(Invalid):
                await box.get(path, 10)
        with pytest.raises(NotFound):
            await box.get("missing", 10)
    assert (tmp_path / "outside").read_text() == "untouched"


async def test_nothing_is_asked_of_a_box_that_is_gone(workspace: Path) -> None:
    async with facing(workspace, {}) as (box, _):
        await box.destroy()
        await box.destroy()
        for ask in (box.stats, lambda: box.exec(["true"]), lambda: box.listen(80)):
            with pytest.raises(Unavailable) as gone:
                await ask()
            assert gone.value.code == "box_gone"


def test_the_packages_of_a_root_are_the_essential_ones_and_what_they_need(tmp_path: Path) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / "status").write_text(
        "Package: base\nStatus: install ok installed\nEssential: yes\nVersion: 1\n"
        "Depends: sh | other, libx (>= 2)\n\n"
        "Package: dash\nStatus: install ok installed\nVersion: 1\nProvides: sh\n\n"
        "Package: libx\nStatus: install ok installed\nVersion: 2\nArchitecture: amd64\n\n"
        "Package: big\nStatus: install ok installed\nVersion: 1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nEssential: yes\nVersion: 1\n"
    )
    assert [each.name for each in chosen(tmp_path)] == ["base", "dash", "libx"]
    (tmp_path / "info" / "libx:amd64.list").write_text("/.\n/usr/lib/libx.so\n/etc/libx\n/bin/x\n")
    found = list(files(chosen(tmp_path), tmp_path))
    assert found[0] == "/usr/lib/libx.so"
    assert all(path.startswith("/usr/") for path in found)
    with pytest.raises(Unavailable, match="Debian"):
        chosen(tmp_path / "none")
