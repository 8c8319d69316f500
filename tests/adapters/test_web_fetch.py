"""The tool that reads one page."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from holdfast.core.message import Failed, Returned
from holdfast.ports.egress import Answer
from holdfast.testing.fake_egress import FakeEgress
from holdfast.testing.website import Reply, Website
from tests.adapters.surfing import Surfer, framed, visiting

pytestmark = pytest.mark.anyio

HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = """<!doctype html>
<html><head><title>Tea &amp; water</title><style>p {color: red}</style>
<meta name="description" content="About tea."></head>
<body>
<header><h1>The Tea Site</h1></header>
<nav><ul><li><a href="/">Home</a><li><a href="/all">Everything</a></ul></nav>
<main>
<h1>How to make <em>tea</em></h1>
<p>Take <a href="water.html">water</a>, heat it,<br>wait. See <a href="https://x.test/a(b)">more</a>
or <a href="#top">above</a>, but not <a href="javascript:alert(1)">this</a>.
<ul><li>Green<li>Black<ol><li>Assam<li>Ceylon</ol></ul>
<table><thead><tr><th>Tea<th>°C</thead><tr><td>Green<td>70</tr>
<tr><td>Black | red</td><td>95</td></tr>
</table>
<pre><code class="language-python">def brew():
    return "tea"</code></pre>
<p>Run <code>brew()</code>.</p>
<blockquote><p>Tea is <b>good</b>.</p></blockquote>
<dl><dt>Steep<dd>To let it stand</dl>
<img src="cup.png" alt="A cup"><img src="dot.gif" alt="">
</main>
<aside>Buy now!</aside><footer>Imprint</footer><script>track("<p>me</p>")</script>
</body></html>"""
TEXT = """title: Tea & water

# How to make tea

Take [water]({site}/dir/water.html), heat it,
wait. See [more](https://x.test/a%28b%29) or above, but not this.

- Green
- Black
  1. Assam
  2. Ceylon

| Tea | °C |
| --- | --- |
| Green | 70 |
| Black \\| red | 95 |

```python
def brew():
    return "tea"
```

Run `brew()`.

> Tea is good.

Steep

To let it stand

[image: A cup]"""


@pytest.fixture
def site() -> Generator[Website]:
    with Website() as site:
        yield site


def page(text: str | bytes, kind: str = HTML["Content-Type"]) -> Reply:
    return Reply(
        headers={"Content-Type": kind}, body=text if isinstance(text, bytes) else text.encode()
    )


async def test_a_page_is_read_for_what_it_says_and_not_for_its_furniture(site: Website):
    """Part of rows GC-90b, KV-28."""
    site.pages["/dir/tea.html"] = page(PAGE)
    text = await visiting(site).says("web_fetch", url=f"{site.url}/dir/tea.html")
    size = len(PAGE.encode())
    assert text.startswith(f"{site.url}/dir/tea.html (text/html, {size:,} bytes)\n")
    assert framed(text) == TEXT.format(site=site.url)


async def test_a_page_of_tables_and_one_of_furniture_are_read_all_the_same(site: Website):
    cells = "<td>" + "<td>".join(f"<table><tr><td>part {n}<td>x</table>" for n in range(3))
    site.pages["/old"] = page(f"<table><tr>{cells}</table><p>end")
    read = await visiting(site).reads(f"{site.url}/old")
    assert read == "| part 0 | x |\n| part 1 | x |\n| part 2 | x |\n\nend"
    site.pages["/menu"] = page("<nav><a href=/a>one</a> <a href=/b>two</a></nav>")
    read = await visiting(site).reads(f"{site.url}/menu")
    assert read == f"[one]({site.url}/a) [two]({site.url}/b)"
    site.pages["/app"] = page("<title>App</title><div id=root></div><script>go()</script>")
    text = await visiting(site).says("web_fetch", url=f"{site.url}/app")
    assert text.endswith("it says nothing, at least without running scripts")
    site.pages["/card"] = page("<meta name=description content='All &lt;about&gt; it'><div></div>")
    assert await visiting(site).reads(f"{site.url}/card") == "All <about> it"


async def test_a_long_page_is_shown_in_parts(site: Website):
    """Row GC-90b."""
    site.pages["/long"] = page("<p>" + "word " * 4_000)
    surfer, url = visiting(site), f"{site.url}/long"
    text = await surfer.says("web_fetch", url=url)
    assert "characters 0 to 8,000 of 19,999; go on with start=8000" in text
    assert len(framed(text)) == 8_000
    text = await surfer.says("web_fetch", url=url, start=16_000)
    assert "characters 16,000 to 19,999 of 19,999\n" in text
    assert len(framed(text)) == 3_999
    assert len(await surfer.reads(url, max_chars=50_000)) == 19_999
    assert "it ends at character 19,999" in await surfer.says("web_fetch", url=url, start=30_000)
    assert (await surfer.fails("web_fetch", url=url, max_chars=50_001))[0] == "bad_arguments"


async def test_two_mebibytes_are_read_and_no_more(site: Website):
    """Row GC-90b."""
    site.pages["/endless"] = page(b"<p>" + b"word " * 600_000)
    text = await visiting(site).says("web_fetch", url=f"{site.url}/endless")
    assert "only the first 2,097,152 bytes were read" in text


async def test_ten_redirects_are_followed_and_not_eleven(site: Website):
    """Row GC-90b."""
    for hop in range(12):
        site.pages[f"/{hop}"] = Reply(status=302, headers={"Location": f"/{hop + 1}"})
    site.pages["/12"] = page("there")
    surfer = visiting(site)
    assert (await surfer.says("web_fetch", url=f"{site.url}/2")).startswith(f"{site.url}/12 ")
    assert await surfer.fails("web_fetch", url=f"{site.url}/1") == (
        "egress_redirects",
        "more than 10 redirects",
    )


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("tool", ["web_fetch", "http"])
async def test_a_page_is_of_whoever_answered_and_of_all_who_led_there(tool: str, status: int):
    """The label of the host that was asked would let a stranger's page pass as that host's own."""
    led = ("https://trusted.test/a", "https://between.test/b", "https://trusted.test/c")
    answer = Answer(status=status, headers={}, body=b"hi", url="https://evil.test/", hops=led)
    surfer = Surfer(FakeEgress({led[0]: answer}))
    out = await surfer.run(tool, url=led[0])
    assert isinstance(out, Returned | Failed)
    assert out.sources == ("web:trusted.test", "web:between.test", "web:evil.test")


async def test_json_is_spread_out_and_other_text_is_as_it_was(site: Website):
    site.pages["/j"] = page('{"a":[1,"ü"]}', "application/json")
    site.pages["/bad"] = page("{not json", "application/problem+json")
    site.pages["/deep"] = page("[" * 100_000 + "]" * 100_000, "application/json")
    site.pages["/md"] = page("# Hi\n\n<b>raw</b>\n", "text/markdown")
    site.pages["/untyped"] = Reply(body=b" <!DOCTYPE html><p>a page")
    surfer = visiting(site)
    assert await surfer.reads(f"{site.url}/j") == '{\n  "a": [\n    1,\n    "ü"\n  ]\n}'
    assert await surfer.reads(f"{site.url}/bad") == "{not json"
    assert await surfer.reads(f"{site.url}/deep", max_chars=100) == "[" * 100
    assert await surfer.reads(f"{site.url}/md") == "# Hi\n\n<b>raw</b>"
    assert await surfer.reads(f"{site.url}/untyped") == "a page"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"text " * 100),
        ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("application/octet-stream", bytes(range(256)) * 10),
        ("text/html", b"PK\x03\x04" + bytes(100)),
    ],
)
async def test_what_is_no_text_is_named(kind: str, body: bytes, site: Website):
    site.pages["/file"] = page(body, kind)
    text = await visiting(site).says("web_fetch", url=f"{site.url}/file")
    said = f"({kind}, {len(body):,} bytes): this is no text and cannot be shown"
    assert text == f"{site.url}/file {said}"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html; charset=iso-8859-1", "<p>Grüße — „Tee“".encode("cp1252")),
        ("text/html; charset=windows-1251", "<p>чай".encode("cp1251")),
        ("text/html", '<meta charset="shift_jis"><p>お茶'.encode("shift_jis")),
        (
            "text/html",
            '<meta http-equiv=content-type content="text/html; charset=gb2312"><p>茶'.encode("gbk"),
        ),
        ("text/html; charset=iso-8859-1", b"\xef\xbb\xbf" + "<p>茶".encode()),
        ("text/html", "\ufeff<p>茶".encode("utf-16-le")),
        ("text/plain", "Grüße".encode("cp1252")),
        ("text/plain", "茶".encode()),
        ("text/html; charset=no-such-thing", "<p>茶".encode()),
    ],
)
async def test_a_page_is_read_in_the_charset_it_is_written_in(
    kind: str, body: bytes, site: Website
):
    site.pages["/words"] = page(body, kind)
    assert await visiting(site).reads(f"{site.url}/words") in {
        "Grüße — „Tee“",
        "чай",
        "お茶",
        "茶",
        "Grüße",
    }


async def test_a_status_that_means_failure_is_one(site: Website):
    site.pages["/sorry"] = Reply(status=503, headers=HTML, body=b"<h1>Later</h1>")
    code, text = await visiting(site).fails("web_fetch", url=f"{site.url}/sorry")
    assert code == "http_503"
    assert text.startswith(f"{site.url}/sorry answered with status 503\n")
    assert framed(text) == "# Later"
    code, text = await visiting(site).fails("web_fetch", url=f"{site.url}/nothing")
    assert (code, framed(text)) == ("http_404", "not here")


async def test_the_same_page_read_twice_says_the_same(site: Website):
    """So that a task that goes in circles is noticed."""
    site.pages["/p"] = page("<p>words")
    surfer = visiting(site)
    first = await surfer.says("web_fetch", url=f"{site.url}/p")
    assert await surfer.says("web_fetch", url=f"{site.url}/p") == first


async def test_the_page_sees_who_asks_and_what_is_wanted(site: Website):
    site.pages["/p"] = page("<p>words")
    await visiting(site).says("web_fetch", url=f"{site.url}/p")
    headers = site.asked[0].headers
    assert "Holdfast" in headers["user-agent"]
    assert headers["accept"].startswith("text/html")
    assert isinstance(visiting(site), Surfer)
