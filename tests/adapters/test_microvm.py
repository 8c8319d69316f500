"""A real machine, emulated: one for all tests of a worker, because it takes seconds to boot."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from holdfast.adapters.boxes.connected import ConnectedBox, connected
from holdfast.adapters.boxes.microvm.box import MicroVMBox
from holdfast.adapters.boxes.microvm.kind import MicroVMBoxes
from holdfast.core.error import Invalid, Unavailable
from holdfast.ports.box import BoxLimits, BoxSpec
from holdfast.ports.egress import Allowed, Answer, Reach
from holdfast.testing.fake_egress import FakeEgress
from tests.adapters import guest_kernel

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.timeout(400),
]
LIMITS = BoxLimits(
    seconds=60, memory=96 << 20, processes=40, disk=24 << 20, inodes=400, file_size=16 << 20
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def kernel() -> None:
    if why := guest_kernel.missing():
        pytest.skip(f"no machine can be booted: {why}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a hidden folder, a read-only folder and a secret beside it."""
    top = tmp_path_factory.mktemp("machine")
    (top / "workspace" / ".holdfast").mkdir(parents=True)
    (top / "workspace" / ".holdfast" / "key").write_text("a secret")
    (top / "workspace" / "below").mkdir()
    (top / "shown").mkdir()
    (top / "shown" / "text").write_text("to be read")
    (top / "secret").write_text("a secret")
    return top


@pytest.fixture(scope="module")
async def box(kernel: None, place: Path) -> AsyncGenerator[MicroVMBox]:
    kind = MicroVMBoxes(guest_kernel.HOME, tcg=True)
    workspace = place / "workspace"
    yield await kind.create(
        BoxSpec(
            workspace=workspace,
            hidden=(workspace / ".holdfast",),
            read_only=(place / "shown",),
            environment={"GREETING": "hello there"},
            limits=LIMITS,
        )
    )
    await kind.close()


@pytest.fixture
def workspace(place: Path) -> Path:
    return place / "workspace"


async def said(box: MicroVMBox, script: str, **more: float) -> str:
    out = await box.exec(["sh", "-c", script], **more)  # pyright: ignore[reportArgumentType]
    return (out.stdout + out.stderr).decode(errors="surrogateescape")


async def test_a_command_says_what_it_says_and_how_it_ended(box: MicroVMBox) -> None:
    out = await box.exec(
        ["sh", "-c", "cat; echo two  spaces é; echo why >&2; exit 3"], stdin=b"in "
    )
    assert (out.code, out.stdout.decode(), out.stderr) == (3, "in two spaces é\n", b"why\n")
    assert (await box.exec(["sh", "-c", "kill -15 $$"])).code == -signal.SIGTERM
    missing = await box.exec(["no-such-program"])
    assert (missing.code, b"no-such-program" in missing.stderr) == (127, True)


async def test_much_goes_in_and_out_unchanged(box: MicroVMBox) -> None:
    much = bytes(range(256)) * 4_000
    assert (await box.exec(["cat"], stdin=much)).stdout == much
    assert (await box.exec(["true"], stdin=much)).code == 0


async def test_output_beyond_the_limit_is_cut(box: MicroVMBox) -> None:
    out = await box.exec(["sh", "-c", "head -c 9000000 /dev/zero | tr '\\0' x"])
    assert (len(out.stdout), out.cut, out.code) == (LIMITS.output, True, 0)


async def test_the_kernel_is_another_and_nothing_of_the_host_is_seen(
    box: MicroVMBox, place: Path
) -> None:
    ours = await anyio.Path("/proc/sys/kernel/random/boot_id").read_text()
    assert await said(box, "cat /proc/sys/kernel/random/boot_id") != ours
    assert "a secret" not in await said(box, f"cat {place}/secret ../secret .holdfast/key")
    assert await said(box, "ls -A .holdfast; ls /sys/class/net; id -u") == "lo\n1000\n"
    shown = await said(box, f"cat {place}/shown/text; echo x >{place}/shown/text")
    assert shown.startswith("to be read")
    assert (place / "shown" / "text").read_text() == "to be read"


async def test_the_environment_is_what_is_given_and_nothing_of_ours(box: MicroVMBox) -> None:
    out = await box.exec(["env"], environment={"MORE": "1"})
    names = {line.partition("=")[0] for line in out.stdout.decode().splitlines()}
    ours = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TERM", "TMPDIR"}
    assert names == {*ours, "GREETING", "MORE"}


async def test_changes_go_in_before_a_command_and_come_out_after_it(
    box: MicroVMBox, workspace: Path
) -> None:
    (workspace / "given").write_text("from here")
    (workspace / "odd \udcff").write_text("odd")
    script = (
        "cat given; mkdir -p made/deep; echo there >made/deep/file; "
        "ln -s file made/deep/link; chmod 700 made"
    )
    assert (await said(box, script)).startswith("from here")
    assert (workspace / "made" / "deep" / "link").read_text() == "there\n"
    assert (workspace / "made").stat().st_mode & 0o777 == 0o700
    (workspace / "given").unlink()
    assert "odd \udcff" in (await box.exec(["ls"])).stdout.decode(errors="surrogateescape")
    await said(box, "[ ! -e given ] && rm -r made && echo again >given; rm odd*")
    assert not (workspace / "made").exists()
    assert (workspace / "given").read_text() == "again\n"
    assert sorted(each.name for each in workspace.iterdir()) == [".holdfast", "below", "given"]


async def test_links_that_lead_out_stay_in_the_box(box: MicroVMBox, workspace: Path) -> None:
    out = await box.exec(["ln", "-s", "/etc/passwd", "link"])
    assert b"stay in the box: link" in out.stderr
    assert not (workspace / "link").is_symlink()
    assert await said(box, "rm link") == ""


async def test_what_a_command_locks_away_is_not_lost(box: MicroVMBox, workspace: Path) -> None:
    await said(box, "mkdir locked && echo x >locked/file && chmod 000 locked")
    assert (workspace / "locked" / "file").read_text() == "x\n"
    await said(box, "chmod 700 locked; rm -r locked")
    assert not (workspace / "locked").exists()


async def test_what_makes_no_sense_is_refused(box: MicroVMBox) -> None:
    for argv, cwd in ((["true"], ".."), (["true"], "missing"), ([], "."), (["a\0b"], ".")):
        with pytest.raises(Invalid):
            await box.exec(argv, cwd=cwd)
    assert (await box.exec(["pwd"], cwd="below")).stdout.endswith(b"/workspace/below\n")


async def test_time_that_is_up_ends_all_that_was_started(box: MicroVMBox) -> None:
    script = "echo began; (setsid sleep 900 &) ; sleep 900"
    out = await box.exec(["sh", "-c", script], seconds=3)
    assert (out.timed_out, out.code, out.stdout) == (True, -9, b"began\n")
    assert await said(box, "pgrep -c sleep") == "0\n"
    with anyio.move_on_after(2) as scope:
        await said(box, "sleep 900")
    assert scope.cancelled_caught
    assert (await box.stats()).processes == 0


async def test_memory_processes_disk_and_inodes_have_an_end(
    box: MicroVMBox, workspace: Path
) -> None:
    eater = "python3 -I -S -c 'x = bytearray(200 << 20)'"
    out = await box.exec(["sh", "-c", f"{eater}; exit 5"])
    assert (out.code, out.stopped) == (5, "it needed more than 96 MiB of memory")
    assert "WON" not in await said(box, "for i in $(seq 60); do sleep 9 & done; echo WON")
    assert "WON" not in await said(
        box,
        "for i in 1 2 3 4; do head -c 8000000 /dev/zero >b$i || exit; done; echo WON",
    )
    assert not await said(
        box,
        "rm b?",
    )
    assert "WON" not in await said(
        box, "mkdir m; cd m; touch $(seq 900) 2>/dev/null && echo WON; cd ..; rm -r m"
    )
    assert sorted(each.name for each in workspace.iterdir())[:2] == [".holdfast", "below"]


async def test_a_command_can_be_talked_with(box: MicroVMBox, workspace: Path) -> None:
    async with box.start(
        ["sh", "-c", "read x; echo heard $x; echo why >&2; cat put; read y"]
    ) as one:
        await box.put("put", b"while it runs\n")
        await one.send(b"me\n")
        heard = await one.receive()
        while b"runs" not in heard:
            heard += await one.receive()
        assert heard == b"heard me\nwhile it runs\n"
        await one.kill()
        assert await one.wait() == -9
        assert one.complaint() == "why\n"
    assert await box.get("put", 5) == b"while"


async def test_two_commands_at_once_do_not_disturb_each_other(box: MicroVMBox) -> None:
    answers: dict[str, bytes] = {}

    async def ask(name: str) -> None:
        out = await box.exec(["sh", "-c", f"for i in 1 2 3; do echo {name}; sleep 0.2; done"])
        answers[name] = out.stdout

    async with anyio.create_task_group() as group:
        for name in ("a", "b"):
            group.start_soon(ask, name)
    assert answers == {"a": b"a\na\na\n", "b": b"b\nb\nb\n"}


async def test_what_runs_in_a_machine_finds_its_way_out(box: MicroVMBox) -> None:
    page = Answer(status=200, headers={}, body=b"words", url="")
    egress = FakeEgress({"http://docs.test/a": page})
    reach = Reach(task="t", agent="a", allowed=(Allowed(host="docs.test", port=80),))
    client = (
        "import os, socket; from urllib.parse import urlsplit\n"
        "way = urlsplit(os.environ['HTTP_PROXY'])\n"
        "s = socket.create_connection((way.hostname, way.port))\n"
        "s.sendall(b'GET http://docs.test/a HTTP/1.1\\r\\nHost: docs.test\\r\\n\\r\\n')\n"
        "while p := s.recv(65536): print(p.decode())\n"
    )
    async with connected(box, egress, reach) as passed:
        out = await ConnectedBox(box, passed).exec(["python3", "-I", "-S", "-c", client])
    assert b"words" in out.stdout, out


async def test_a_way_out_is_a_socket_of_ours(box: MicroVMBox) -> None:
    much = b"x" * 700_000
    client = (
        "import socket, sys; s = socket.create_connection(('127.0.0.1', 3128)); "
        "s.sendall(b'hello'); s.shutdown(socket.SHUT_WR); n = 0\n"
        "while (p := s.recv(65536)): n += len(p)\n"
        "print(n)"
    )
    with await box.listen(3128) as listener:

        async def serve() -> None:
            await anyio.wait_readable(listener)
            link = listener.accept()[0]
            with link:
                link.setblocking(True)
                assert await to_thread.run_sync(link.recv, 100) == b"hello"
                assert await to_thread.run_sync(link.recv, 100) == b""
                await to_thread.run_sync(link.sendall, much)

        out = None
        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            out = await box.exec(["python3", "-I", "-S", "-c", client])
    assert out is not None
    assert (out.stdout, out.stderr) == (b"700000\n", b"")
    out = await box.exec(["python3", "-I", "-S", "-c", client])
    assert b"Error" in out.stderr or out.stdout == b"0\n"  # which one, the race decides


def children(parent: int) -> list[Path]:
    stats = Path("/proc").glob("[0-9]*/stat")
    return [each.parent for each in stats if f" {parent} " in state_and_parent(each)]


def state_and_parent(stat: Path) -> str:
    try:
        return stat.read_text().rpartition(") ")[2][:20]
    except OSError:
        return ""


async def test_the_machine_has_a_user_of_its_own_and_is_gone_when_it_is_destroyed(
    kernel: None, workspace: Path, tmp_path: Path
) -> None:
    """Also when the daemon is killed: a machine does not outlive it."""
    script = f"""
import anyio, os
from pathlib import Path
from holdfast.adapters.boxes.microvm.kind import MicroVMBoxes
from holdfast.ports.box import BoxSpec
async def main():
    kind = MicroVMBoxes(Path({str(guest_kernel.HOME)!r}), tcg=True)
    box = await kind.create(BoxSpec(workspace=Path({str(tmp_path)!r})))
    with anyio.fail_after(60):
        out = await box.exec(["cat", "/proc/sys/kernel/random/boot_id"])
    print(out.code, flush=True)
    await anyio.sleep_forever()
anyio.run(main)
"""
    with daemon_of(script) as daemon:
        assert daemon.stdout is not None
        assert await to_thread.run_sync(daemon.stdout.readline) == "0\n"
        [machine] = children(daemon.pid)
        about = (machine / "status").read_text()
        if Path(f"/proc/{daemon.pid}").stat().st_uid == 0:
            assert "\nUid:\t0" not in about
            assert "\nCapBnd:\t0000000000000000" in about
        assert "\nNoNewPrivs:\t1" in about
        assert "\nSeccomp:\t2" in about
    with anyio.fail_after(20):
        while state_and_parent(machine / "stat")[:1] not in {"", "Z"}:
            await anyio.sleep(0.05)


@contextmanager
def daemon_of(script: str) -> Generator[subprocess.Popen[str]]:
    """A process that is killed in the end."""
    words = [sys.executable, "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as daemon:
        try:
            yield daemon
        finally:
            daemon.kill()


async def test_every_wall_that_is_claimed_stands(kernel: None) -> None:
    kind = MicroVMBoxes(guest_kernel.HOME, tcg=True)
    found = await kind.probe()
    assert found.problems == ()
    weak = {wall for wall, strength in found.walls.items() if strength != "enforced"}
    assert weak == set()


async def test_without_help_of_the_processor_there_is_no_box_unless_emulation_is_allowed(
    tmp_path: Path, workspace: Path
) -> None:
    kind = MicroVMBoxes(tmp_path)
    with pytest.raises(Unavailable) as refused:
        await kind.create(BoxSpec(workspace=workspace))
    assert "guide" in refused.value.hint
    with pytest.raises(Unavailable, match="kernel boundary"):
        await kind.create(BoxSpec(workspace=workspace, requires=("kernel boundary",)))
