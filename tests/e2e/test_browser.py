"""A browser at work in a whole house: a page, a form, a secret typed by its name, a picture."""

from __future__ import annotations

import io
import shutil
import zipfile
import zlib
from collections.abc import Generator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_server import Catalogue, ModelServer, Reply, ScriptedCall
from holdfast.testing.website import Asked, Website
from holdfast.testing.website import Reply as Page
from tests.e2e.at_home import holdfast, until

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome-stable")
VALUE = "canary-q7Zx-of-the-form-42"
HARMLESS = "harmless-word-of-the-form"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium"),
]

FORM = """<!doctype html><title>Log in</title><body style="margin:0;font:16px monospace">
<form action=/sent><input name=who style="position:absolute;left:10px;top:10px;width:600px">
<input name=key style="position:absolute;left:10px;top:60px;width:600px">
<input type=submit value=Send style="position:absolute;left:10px;top:200px"></form>
<button id=more style="position:absolute;left:10px;top:300px"
 onclick="document.title='Pressed'">More</button>"""
KEY_ROWS, WHO_ROWS = slice(64, 76), slice(14, 26)  # within the frames


def site(asked: Asked) -> Page | None:
    html = {"Content-Type": "text/html; charset=utf-8"}
    if asked.path == "/form":
        return Page(headers=html, body=FORM.encode())
    if asked.path == "/sent":
        key = parse_qs(urlsplit(asked.target).query)["key"][0]
        return Page(headers=html, body=f"<title>Sent</title><p>The key is {key}.".encode())
    return None


def rows(png: bytes) -> list[bytes]:
    """The lines of a picture without interlacing, 8 bits a sample; filters undone."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    depth, colour, interlaced = png[24], png[25], png[28]
    assert (depth, interlaced) == (8, 0)
    size = {2: 3, 6: 4}[colour]
    data, at = b"", 8
    while at < len(png):
        length, kind = int.from_bytes(png[at : at + 4]), png[at + 4 : at + 8]
        data += png[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    raw, stride = zlib.decompress(data), width * size
    above, lines = bytearray(stride), list[bytes]()
    for y in range(height):
        start = y * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        for x in range(stride):
            left = line[x - size] if x >= size else 0
            corner = above[x - size] if x >= size else 0
            line[x] = (line[x] + predicted(raw[start], left, above[x], corner)) & 255
        lines.append(bytes(line))
        above = line
    return lines


def predicted(kind: int, left: int, up: int, corner: int) -> int:
    if kind < 4:
        return (0, left, up, (left + up) // 2)[kind]
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


def dark(lines: list[bytes]) -> int:
    """Samples that are neither light nor of a frame: letters."""
    return sum(sample < 100 for line in lines for sample in line[120:1500])


def replies(url: str, text: str) -> list[Reply]:
    calls: list[tuple[str, dict[str, str]]] = [
        ("browser_open", {"url": f"{url}/form"}),
        ("browser_snapshot", {}),
        ("browser_click", {"selector": "#more"}),
        ("browser_type", {"ref": "e1", "text": HARMLESS}),
        ("browser_type", {"ref": "e2", "text": text}),
        ("browser_screenshot", {"filename": "form.png"}),
        ("browser_click", {"selector": "[type=submit]"}),
        ("browser_snapshot", {"wait_for": "The key is"}),
        ("browser_screenshot", {"filename": "sent.png"}),
        ("browser_close", {}),
    ]
    asked = [Reply(calls=(ScriptedCall(name=n, arguments=given),)) for n, given in calls]
    return [*asked, Reply(text="I logged in.")]


@pytest.fixture
def place() -> Generator[Path]:
    with stage("browser") as folder:
        yield folder


def at_work(place: Path, far: Website, text: str) -> tuple[bytes, bytes, dict[str, bytes]]:
    """One task: what its model was told, what the house wrote down and said, the pictures."""
    home, folder = place / "home", place / "files"
    folder.mkdir(parents=True)
    models = Catalogue(models=("scripted",))
    with ModelServer(
        script=replies(f"http://localhost:{far.port}", text), catalogue=models
    ) as model:
        use_model(home, model.url)
        with (home / "config.toml").open("a") as config:
            config.write(
                '[browser]\nsecret_hosts = ["localhost"]\n[egress]\nprivate = ["localhost"]\n'
                f'[[egress.allow]]\nhost = "localhost"\nport = {far.port}\ntools = ["browser"]\n'
            )
        with Daemon(home) as daemon:
            daemon.start()
            secret = {"name": "site/key", "value": VALUE, "grants": ["default"]}
            daemon.post("/api/v1/secrets", secret)
            task = daemon.submit("log in", folder)
            over = {"SUCCEEDED", "FAILED", "WAITING"}
            until(lambda: daemon.get(f"/api/v1/tasks/{task}")["status"] in over, 120)
            row = daemon.get(f"/api/v1/tasks/{task}")
            events = daemon.get(f"/api/v1/tasks/{task}/events?limit=5000")
            assert row["status"] == "SUCCEEDED", (row, events)
            assert holdfast(home, "task", "bundle", task, str(place / "b.zip")).returncode == 0
            said = [repr(row), repr(events)]
            log = holdfast(home, "egress", "log", "--json").stdout
            assert "localhost" in log
            said += [log, holdfast(home, "task", "show", task, "--json").stdout]
            daemon.stop()
        with zipfile.ZipFile(io.BytesIO((place / "b.zip").read_bytes())) as bundle:
            said += [bundle.read(name).decode() for name in bundle.namelist()]
        heard = "\n".join(repr(one.body) for one in model.requests).encode()
    written = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    pictures = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    return heard, written + "\n".join(said).encode(), pictures


def test_a_secret_is_typed_and_seen_by_nobody_but_the_page(place: Path):
    """Part of rows OL-97, OL-98, OL-99, OL-100 and OL-101."""
    with Website(rule=site) as far:
        heard, kept, pictures = at_work(place / "one", far, "$SECRET{site/key}")
        sent = [asked for asked in far.asked if asked.path == "/sent"]
        _, _, plain = at_work(place / "two", far, HARMLESS)
    query = parse_qs(urlsplit(sent[0].target).query)
    assert query == {"who": [HARMLESS], "key": [VALUE]}, "the page got it"
    assert b"The key is" in heard, "the model was shown the page that says it back"
    assert b"Pressed" in heard
    assert VALUE.encode() not in heard + kept
    assert VALUE.encode().hex().encode() not in heard + kept
    assert set(pictures) == {"form.png"}, "there is no picture of words that hold a secret"
    assert b"secret_on_page" in kept
    masked, control = rows(pictures["form.png"]), rows(plain["form.png"])
    assert dark(control[KEY_ROWS]) > 0, "what is no secret is seen"
    assert dark(masked[WHO_ROWS]) > 0
    assert dark(masked[KEY_ROWS]) == 0, "where the secret is, no letter is"
