"""A real Chromium at work: what its tools answer, and what they never show."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from holdfast.adapters.tools.browser.options import BrowserOptions
from holdfast.config.sections_browser import Browser
from holdfast.core.message import Failed
from holdfast.ports.box import BoxSpec
from holdfast.testing.plain_boxes import PlainBox, PlainBoxes
from holdfast.testing.tool_contract import CLAUSES
from tests.adapters.browser_stage import CHROMIUM, Stage, on_stage

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium"),
]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Stage]:
    async with on_stage(tmp_path) as ready:
        yield ready


def pixels(png: bytes) -> bytes:
    """What the picture's data chunks hold, without checking their sums."""
    data, at = b"", 8
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        data += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    return zlib.decompress(data)


def test_the_configuration_says_all_that_a_browser_may_be():
    assert BrowserOptions(**Browser().model_dump()) == BrowserOptions()


async def test_a_page_is_opened_and_read(stage: Stage):
    """Part of row OL-97."""
    page = await stage.open()
    assert page["url"] == f"{stage.site.address}/form.html"
    assert (page["title"], page["status"]) == ("A form", 200)
    assert page["content"].startswith("Sign up\n")
    assert (await stage.open("nowhere.html"))["status"] == 404
    code, text = await stage.fails("open", url="http://127.0.0.1:1/")
    assert code == "page_failed"
    assert "ERR_" in text
    long = "data:text/html,<body><script>document.body.innerText='x '.repeat(1e5)</script>"
    page = await stage.tells("open", url=long)
    assert (len(page["content"]), page["truncated"]) == (50_000, True)


async def test_what_looks_like_a_key_is_not_read_from_a_page(stage: Stage):
    """Row OL-97."""
    page = await stage.open("keys.html")
    assert page["content"].startswith("use [REDACTED] or [REDACTED] or [REDACTED]\n")
    said = await stage.says("evaluate", script="document.body.innerText")
    assert "ghp_" not in said
    assert said.count("[REDACTED]") == 3


async def test_only_pages_are_opened_and_files_only_from_the_workspace(
    stage: Stage, tmp_path: Path
):
    for address in ("file:///etc/passwd", "chrome://version", "javascript:alert(1)", "etc/passwd"):
        assert (await stage.fails("open", url=address))[0] == "bad_arguments"
    (stage.workspace / "report.html").write_text("<title>Mine</title><h1>Report</h1>")
    (tmp_path / "secret.html").write_text("secret")
    page = await stage.tells("open", file="report.html")
    assert (page["title"], page["content"]) == ("Mine", "Report")
    assert (await stage.fails("open", file="../secret.html"))[0] == "outside_workspace"
    assert (await stage.fails("open", file="none.html"))[0] == "not_found"
    frame = "data:text/html,<iframe src=file:///etc/passwd></iframe><p>here"
    assert "root:" not in await stage.says("open", url=frame)


async def test_a_form_is_listed_filled_in_and_sent(stage: Stage):
    """Row OL-98. Part of row OL-100."""
    await stage.open()
    seen = await stage.tells("snapshot")
    assert seen["element_count"] == len(seen["elements"]) == 12
    assert seen["elements"][1] == {"ref": "e2", "role": "textbox", "name": "Name"}
    assert [each.get("nth") for each in seen["elements"] if each["name"] == "More"] == [None, 1]
    refs = await stage.refs()
    await stage.says("type", ref=refs["textbox Name"], text="nobody")
    await stage.says("type", ref=refs["textbox Name"], text="Ada & Bo")
    await stage.says("type", ref=refs["combobox Colour"], text="blue")
    code, text = await stage.fails("type", ref=refs["combobox Colour"], text="green")
    assert code == "not_possible"
    assert '"red", "blue"' in text
    assert (await stage.fails("type", ref=refs["button Send"], text="x"))[0] == "not_possible"
    assert (await stage.tells("click", ref=refs["button More"]))["title"] == "pressed"
    sent = await stage.tells("click", ref=refs["button Send"])
    assert (sent["title"], "who=Ada+%26+Bo&colour=b&" in sent["url"]) == ("Done", True)
    assert await stage.says("evaluate", script="document.title") == "Done"


async def test_a_ref_is_good_until_the_next_page_or_snapshot(stage: Stage):
    """Part of row OL-100."""
    await stage.open()
    assert await stage.fails("click") == (
        "bad_arguments",
        "browser_click: Provide either 'ref' of a browser_snapshot, or 'selector'",
    )
    code, text = await stage.fails("click", ref="e9")
    assert (code, "Unknown ref 'e9'. Call browser_snapshot first" in text) == ("unknown_ref", True)
    refs = await stage.refs()
    await stage.says("evaluate", script="document.querySelector('button').remove()")
    assert (await stage.fails("click", ref=refs["button Send"]))[0] == "stale_ref"
    await stage.says("click", ref=refs["button More"])
    await stage.open("done.html")
    assert (await stage.fails("click", ref=refs["button More"]))[0] == "unknown_ref"


async def test_an_element_is_clicked_only_when_a_person_could(tmp_path: Path):
    """Part of row OL-100."""
    page = """data:text/html,<button id=a style=margin-top:3000px onclick="document.title='far'">a
      </button><button id=b disabled>b</button><div style=position:relative><button id=c>c</button>
      <div id=over style=position:absolute;inset:0></div></div><button id=d hidden>d</button>
      <button id=e hidden onclick="document.title='late'">e</button>"""
    async with on_stage(tmp_path, BrowserOptions(act_seconds=0.3)) as stage:
        await stage.says("open", url=page)
        assert (await stage.tells("click", selector="#a"))["title"] == "far"
        for selector, why in (("b", "disabled"), ("c", "div#over lies over it"), ("d", "visible")):
            code, text = await stage.fails("click", selector=f"#{selector}")
            assert (code, why in text) == ("not_possible", True)
        assert (await stage.fails("click", selector="#none"))[0] == "no_such_element"
        assert (await stage.fails("click", selector="a:::b"))[0] == "bad_selector"
        later = "setTimeout(() => document.querySelector('#e').hidden = false, 100)"
        await stage.says("evaluate", script=later)
        assert (await stage.tells("click", selector="#e"))["title"] == "late"


async def test_keys_history_and_new_tabs(stage: Stage):
    await stage.open("done.html")
    await stage.open()
    await stage.says("type", selector="[name=who]", text="Ada")
    assert (await stage.tells("press", key="Enter"))["title"] == "Done"
    assert (await stage.tells("open", url="back"))["title"] == "A form"
    assert (await stage.fails("press", key="Hyper+X"))[0] == "no_such_key"
    await stage.says("type", selector="[name=who]", text="Ada")
    await stage.says("press", key="Control+A")
    await stage.says("press", key="x")
    assert await stage.says("evaluate", script="document.querySelector('input').value") == "x"
    elsewhere = await stage.tells("click", selector="a")
    assert (elsewhere["title"], elsewhere["notes"]) == (
        "Done",
        ["a new tab opened; it is in front now"],
    )
    await stage.run("evaluate", script="window.close()")
    await stage.run("evaluate", script="'whether it is known to be closed yet'")
    assert await stage.says("evaluate", script="document.title") == "A form"


async def test_scripts_say_their_value_or_why_not(tmp_path: Path):
    """Part of row OL-100."""
    async with on_stage(tmp_path, BrowserOptions(act_seconds=1.0)) as stage:
        await stage.says("open", url="about:blank")
        for script, value in {
            "1 + 1": "2",
            "1234567.89": "1234567.89",
            "'a' + 'b'": "ab",
            "({a: [1, null]})": '{"a":[1,null]}',
            "null": "null",
            "undefined": "undefined",
            "10n": "10n",
            "0/0": "NaN",
            "document.body": "[object HTMLBodyElement]",
            "return 'kept'": "kept",
            "Promise.resolve([1])": "[1]",
            "await Promise.resolve(3)": "3",
        }.items():
            assert await stage.says("evaluate", script=script) == value, script
        assert (await stage.fails("evaluate", script="throw Error('no')"))[0] == "script_failed"
        assert (await stage.fails("evaluate", script="((("))[0] == "script_failed"
        assert (await stage.fails("evaluate", script="new Promise(() => 0)"))[0] == "timeout"
        assert isinstance(await stage.run("evaluate", script="for (;;);"), Failed)
        assert await stage.says("evaluate", script="'still here'") == "still here"
        said = await stage.says("evaluate", script="alert('boo'); 'x'.repeat(60000)")
        assert said.endswith("[there was more]\n[the page's alert was dismissed: 'boo']")


async def test_a_picture_is_a_file_of_the_workspace(stage: Stage, tmp_path: Path):
    """Row OL-99."""
    await stage.open()
    about = await stage.tells("screenshot")
    png = (stage.workspace / "screenshot.png").read_bytes()
    assert about == {"path": "screenshot.png", "size": len(png), "width": 1280, "height": 720}
    assert len(set(pixels(png))) > 16
    await stage.says("evaluate", script="document.body.style.height = '3000px'")
    whole = await stage.tells("screenshot", filename="shots/whole.png", full_page=True)
    assert whole["height"] > 2999
    assert (await stage.fails("screenshot", filename="../x.png"))[0] == "outside_workspace"
    assert (await stage.fails("screenshot", filename=".git/config"))[0] == "protected_path"
    assert not (tmp_path / "x.png").exists()
    (kept,) = await stage.tools["browser_screenshot"].before({}, stage.job)
    assert (kept.path, kept.before is not None) == ("screenshot.png", True)


async def test_a_secret_that_was_typed_is_never_shown(stage: Stage):
    """Row OL-100."""
    secret, said = "pa$$ w0rd/ü", list[str]()
    await stage.open("login.html")
    for value, name in (("short", "a.png"), (secret, "b.png")):
        await stage.says("type", selector="[name=key]", text=value, secrets=("key",))
        await stage.says("type", selector="[name=word]", text=value, secrets=("key",))
        await stage.says("click", selector="h1")
        said.append(await stage.says("snapshot"))
        await stage.says("screenshot", filename=name)
    pictures = [(stage.workspace / name).read_bytes() for name in ("a.png", "b.png")]
    assert pictures[0] == pictures[1]
    assert said[1].count('"[secret]"') == 2
    await stage.says("type", selector="[name=who]", text=secret)
    said += [await stage.says("snapshot"), await stage.says("screenshot", filename="c.png")]
    said.append(await stage.says("press", key="Enter"))
    assert (await stage.tells("snapshot"))["title"] == "Done"
    said.append(await stage.says("evaluate", script="location.href"))
    show = f"document.body.innerText = 'it is {secret}'"
    said.append(await stage.says("evaluate", script=show))
    assert (await stage.fails("screenshot"))[0] == "secret_on_page"
    said.append(str(await stage.fails("evaluate", script="document.body.innerText")))
    for text in said:
        assert secret not in text
        assert "w0rd" not in text


async def test_a_secret_is_not_got_back_by_scripts_keys_or_a_page_of_ones_own(stage: Stage):
    """Part of row OL-100."""
    typed = {"selector": "[name=key]", "text": "the-secret-key", "secrets": ("key",)}
    await stage.open()
    await stage.says("evaluate", script="window.oninput = e => document.title = e.target.value")
    assert (await stage.fails("type", **typed))[0] == "secret_not_here"
    for page in ("<input name=key oninput=document.title=value>", ""):
        await stage.says("open", url=f"data:text/html,{page}<input name=key>")
        assert (await stage.fails("type", **typed))[0] == "secret_not_here"
    (stage.workspace / "mine.html").write_text("<input name=key>")
    await stage.says("open", file="mine.html")
    assert (await stage.fails("type", **typed))[0] == "secret_not_here"
    assert (await stage.fails("type", selector="input", text="$SECRET{x}"))[0] == "secret_not_here"
    await stage.open()
    await stage.says("type", **typed)
    backwards = "[...document.querySelector('[name=key]').value].reverse().join('')"
    assert (await stage.fails("evaluate", script=backwards))[0] == "secret_on_page"
    for key in ("Shift+ArrowLeft", "Control+A", "Control+C"):
        assert (await stage.fails("press", key=key))[0] == "secret_on_page"
    elsewhere = await stage.tells("click", selector="a")
    assert elsewhere["title"] == "Done"
    opener = "opener.document.querySelector('[name=key]').value.split('')"
    assert (await stage.fails("evaluate", script=opener))[0] == "secret_on_page"


async def test_what_the_house_knows_is_hidden_wherever_it_came_from(tmp_path: Path):
    """Part of row OL-100."""
    async with on_stage(tmp_path, kept={"mine": "for-you", "key": "typed-without-name"}) as stage:
        page = await stage.open("keys.html")
        assert page["content"].endswith("token-5f8c-made-<known>")
        assert (await stage.fails("screenshot"))[0] == "secret_on_page"
        assert (await stage.fails("evaluate", script="1"))[0] == "secret_on_page"
        await stage.open()
        said = await stage.says("type", selector="[name=who]", text="typed-without-name")
        assert "typed a secret" in said
        assert '"value": "[secret]"' in await stage.says("snapshot")


async def test_secrets_are_typed_only_at_the_hosts_that_are_named(tmp_path: Path):
    async with on_stage(tmp_path, BrowserOptions(secret_hosts=("*.example.com",))) as stage:
        await stage.open()
        code, text = await stage.fails("type", selector="input", text="x", secrets=("key",))
        assert (code, "*.example.com" in text) == ("secret_not_here", True)


async def test_what_a_page_shows_is_kept_as_a_secret(tmp_path: Path):
    """Row OL-109."""
    kept: dict[str, str] = {}
    async with on_stage(tmp_path, kept=kept) as stage:
        await stage.open("keys.html")
        said = await stage.says("capture_secret", name="new", selector="#new")
        assert said == "kept; use it as $SECRET{new}"
        assert kept == {"new": "token-5f8c-made-for-you"}
        code, _ = await stage.fails("evaluate", script="document.querySelector('#new').innerText")
        assert code == "secret_on_page"
        page = await stage.says("open", url="reload")
        assert "token-5f8c" not in page
        assert (await stage.fails("screenshot"))[0] == "secret_on_page"
        await stage.says("open", url="data:text/html,<p></p>")
        assert (await stage.fails("capture_secret", name="x", selector="p"))[0] == "empty"


async def test_dialogs_downloads_files_and_passwords_are_refused_and_told(stage: Stage):
    page = """data:text/html,<a id=d download=x.bin href=data:application/x,1>d</a>
      <input type=file id=f><button id=c onclick="document.title=confirm('sure?')">c</button>"""
    await stage.open("done.html")
    await stage.says("open", url=page)
    asked = await stage.tells("click", selector="#c")
    assert (asked["title"], asked["notes"]) == (
        "false",
        ["the page's confirm was dismissed: 'sure?'"],
    )
    assert "asked for a file" in str((await stage.tells("click", selector="#f"))["notes"])
    assert (await stage.fails("type", selector="#f", text="/etc/passwd"))[0] == "not_possible"
    assert "a download of 'x.bin' was refused" in str(await stage.tells("click", selector="#d"))
    code, _ = await stage.fails("open", url=f"{stage.site.address}/some.bin")
    assert code in {"download_refused", "page_failed"}


async def test_one_browser_for_each_task_up_when_needed_and_gone_after_it(stage: Stage):
    """Part of row OL-101."""
    assert await stage.fails("snapshot") == (
        "no_page",
        "no page is open; call browser_open first",
    )
    assert not await stage.boxes.all()
    await stage.open()
    (lodger,) = await stage.boxes.all()
    assert lodger.owner.startswith(stage.job.task)
    assert Path(lodger.workspace).is_dir()
    assert not Path(lodger.workspace).is_relative_to(stage.workspace)
    await stage.says("close")
    assert not await stage.boxes.all()
    assert not Path(lodger.workspace).exists()
    assert (await stage.fails("click", ref="e1"))[0] == "no_page"
    await stage.open()
    await stage.browsers.release(stage.job.task)
    assert not await stage.boxes.all()


async def test_nothing_of_a_browser_is_left_when_it_is_closed(tmp_path: Path):
    boxes = PlainBoxes()
    async with on_stage(tmp_path, boxes=boxes) as stage:
        await stage.open()
        (box,) = boxes.made
        assert browsers_in(box)
        await stage.says("close")
        assert browsers_in(box) == []
        await stage.open()
    assert browsers_in(boxes.made[1]) == []


async def test_an_idle_browser_is_closed(tmp_path: Path):
    async with on_stage(tmp_path, BrowserOptions(idle_seconds=0.05)) as stage:
        await stage.says("open", url="about:blank")
        with anyio.fail_after(20):
            await stage.site.left.wait()
        await stage.browsers.release(stage.job.task)
        assert (await stage.fails("snapshot"))[0] == "no_page"


async def test_a_browser_that_is_killed_is_told_and_the_next_one_is_new(tmp_path: Path):
    boxes, outcomes = PlainBoxes(), list[object]()
    async with on_stage(tmp_path, boxes=boxes) as stage:
        await stage.open()

        async def forever() -> None:
            outcomes.append(await stage.run("evaluate", script="new Promise(() => 0)"))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(forever)
                await wait_all_tasks_blocked()
                await boxes.made[0].running[1].kill()
        (outcome,) = outcomes
        assert isinstance(outcome, Failed)
        assert outcome.code == "browser_gone"
        assert "call browser_open again" in outcome.text
        assert (await stage.open())["title"] == "A form"


async def test_what_comes_later_can_be_waited_for(tmp_path: Path):
    async with on_stage(tmp_path, BrowserOptions(act_seconds=2.0)) as stage:
        later = "setTimeout(() => location = '/done.html', 300)"
        await stage.open()
        await stage.says("evaluate", script=later)
        assert "Done" in await stage.says("snapshot", wait_for="Thank you")
        code, text = await stage.fails("snapshot", wait_for="Never")
        assert (code, text) == ("not_shown", "the page did not show 'Never' within 2 s")


async def test_frames_are_looked_into_and_secrets_in_them_are_covered(stage: Stage):
    await stage.open("framed.html")
    refs = await stage.refs()
    for text, name in (("one", "1.png"), ("another", "2.png")):
        await stage.says("type", ref=refs["textbox Key"], text=text, secrets=("key",))
        await stage.says("type", ref=refs["textbox Password"], text=text, secrets=("key",))
        await stage.says("click", ref=refs["heading Log in"])
        await stage.says("screenshot", filename=name)
    assert (await stage.fails("evaluate", script="1"))[0] == "secret_on_page"
    pictures = [(stage.workspace / name).read_bytes() for name in ("1.png", "2.png")]
    assert pictures[0] == pictures[1]
    await stage.says("type", ref=refs["textbox Name"], text="Ada", submit=True)
    assert (await stage.fails("click", ref=refs["textbox Name"]))[0] == "stale_ref"


async def test_browser_tools_keep_what_all_tools_promise(stage: Stage):
    await stage.open()
    for name, arguments in {
        "open": {"url": f"{stage.site.address}/form.html", "wait_ms": 0},
        "snapshot": {"wait_for": "Sign up"},
        "click": {"selector": "h1"},
        "type": {"selector": "[name=who]", "text": "Ada", "submit": False},
        "press": {"key": "Tab"},
        "evaluate": {"script": "1"},
        "screenshot": {"filename": "a.png", "full_page": True},
        "capture_secret": {"selector": "h1", "name": "title"},
        "close": {},
    }.items():
        tool = stage.tools[f"browser_{name}"]
        for clause in CLAUSES:
            await clause(tool, arguments, stage.job)


async def test_only_so_many_browsers_are_open(tmp_path: Path):
    async with on_stage(tmp_path, BrowserOptions(most=1)) as stage:
        await stage.open()
        stage.job = type(stage.job)(
            task=type(stage.job.task)("task_2"), call=stage.job.call, workspace=stage.workspace
        )
        assert (await stage.fails("open", url="about:blank"))[0] == "too_many_browsers"


async def test_a_tier_that_is_not_there_is_said(tmp_path: Path):
    """Part of row OL-101."""
    for options, hint in (
        (BrowserOptions(executable="/no/browser"), "correct [browser] executable"),
        (BrowserOptions(tier="stealth"), "set [browser] executable"),
        (BrowserOptions(tier="remote"), "set [browser] remote_url"),
    ):
        async with on_stage(tmp_path, options) as stage:
            code, text = await stage.fails("open", url="about:blank")
            assert (code, hint in text) == ("browser_tier_missing", True)
    unreachable = BrowserOptions(tier="remote", remote_url="ws://127.0.0.1:1/$SECRET{token}")
    async with on_stage(tmp_path, unreachable, kept={"token": "hush"}) as stage:
        code, text = await stage.fails("open", url="about:blank")
        assert (code, "hush" in text) == ("browser_remote", False)


async def test_a_remote_browser_is_used_over_its_devtools_address(tmp_path: Path):
    """Row OL-101."""
    async with elsewhere(tmp_path) as (address, token):
        options = BrowserOptions(tier="remote", remote_url=f"{address}/$SECRET{{token}}")
        async with on_stage(tmp_path, options, kept={"token": token}) as stage:
            page = await stage.tells("open", url="data:text/html,<title>far</title><button>b")
            assert page["title"] == "far"
            assert (await stage.tells("snapshot"))["elements"][0]["role"] == "button"
            assert (await stage.tells("screenshot"))["width"] == 1280
            assert stage.boxes is not None
        async with on_stage(tmp_path, options, kept={"token": token}) as stage:
            assert (await stage.tells("open", url="about:blank"))["url"] == "about:blank"


async def test_the_stealth_browser_does_not_say_that_it_is_driven(tmp_path: Path):
    """Part of row OL-101."""
    asks = "[navigator.webdriver, navigator.userAgent.includes('Headless')]"
    async with on_stage(tmp_path, BrowserOptions(tier="stealth", executable=CHROMIUM)) as stage:
        await stage.open()
        assert await stage.says("evaluate", script=asks) in {"[null,false]", "[false,false]"}
    async with on_stage(tmp_path) as stage:
        await stage.open()
        assert await stage.says("evaluate", script=asks) == "[true,true]"


def browsers_in(box: PlainBox) -> list[str]:
    """The processes that have the box's scratch folder on their command line."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [words] if f"--user-data-dir={box.scratch}" in words else []
    return found


@asynccontextmanager
async def elsewhere(place: Path) -> AsyncGenerator[tuple[str, str]]:
    """A Chromium that listens: its address, and the secret end of it."""
    box = PlainBox(BoxSpec(workspace=place), place)
    flags = "--headless=new --no-sandbox --disable-gpu --remote-debugging-port=0"
    line = f"TMPDIR=/tmp exec {CHROMIUM} {flags} --user-data-dir={place}/profile about:blank 2>&1"
    async with box.start(["sh", "-c", line]) as running:
        said = b""
        with anyio.fail_after(30):
            while not (found := re.search(rb"listening on (ws://\S+)/(\S+)\s", said)):
                said += await running.receive()
        yield found[1].decode(), found[2].decode()
