"""Who reached what, through the doors; and what the configuration says may be reached."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import load, to_ways
from holdfast.core.error import Invalid
from holdfast.core.reach import Allowed
from holdfast.runtime.upkeep import DAY, forget
from holdfast.testing.fake_visits import FakeVisits
from holdfast.testing.visits_contract import visit
from tests.doors.cli_stage import Stage, staged
from tests.doors.house import Plan, street


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


@pytest.mark.anyio
async def test_visits_are_listed_newest_first_and_by_page(tmp_path: Path):
    visits = FakeVisits()
    for number in range(1, 4):
        await visits.write(visit(number, code="egress_host" if number == 2 else ""))
    async with street(tmp_path, plan=Plan(visits=visits)) as here:
        page = (await here.tcp.get("/api/v1/egress", params={"limit": 2})).json()
        assert [one["id"] for one in page["visits"]] == ["visit_0003", "visit_0002"]
        rest = (await here.tcp.get("/api/v1/egress", params={"before": page["next"]})).json()
        assert [one["id"] for one in rest["visits"]] == ["visit_0001"]
        assert rest["next"] is None
        for asked in ({"refused": "true"}, {"refused": "true", "host": "API.example.com."}):
            found = (await here.tcp.get("/api/v1/egress", params=asked)).json()["visits"]
            assert [one["code"] for one in found] == ["egress_host"]
        nobody = (await here.tcp.get("/api/v1/egress", params={"agent": "bob"})).json()
        assert nobody["visits"] == []
        assert (await here.tcp.get("/api/v1/egress", params={"limit": 0})).status_code == 422
        assert (await here.tcp.get("/api/v1/egress", params={"task": "task_no"})).status_code == 404


@pytest.mark.anyio
async def test_visits_go_when_tasks_go(tmp_path: Path):
    visits = FakeVisits()
    async with street(tmp_path, plan=Plan(visits=visits)) as here:
        now = here.house.clock.now()
        await visits.write(visit(1, at=now - 3 * DAY))
        await visits.write(visit(2, at=now))
        await forget(here.house, 0)
        assert len(visits.all) == 2
        await forget(here.house, 2)
        assert list(visits.all) == ["visit_0002"]


def test_the_command_shows_how_each_ended(stage: Stage):
    usual = {"at": 1, "agent": "ann", "kind": "fetch", "host": "a.example", "port": 443}
    rows = [
        {
            "id": "visit_2",
            "at": 1,
            "agent": "ann",
            "tool": "exec",
            "host": "\x1b[2Jx",
            "code": "x_y",
        },
        {**usual, "id": "visit_1", "task": "task_0123456789", "method": "GET", "status": 200},
    ]
    rows[1] |= {"path": "/b", "sent": 5, "received": 1_234}
    stage.daemon.canned["/api/v1/egress"] = {"visits": rows, "next": None}
    told = stage.run("egress", "log", "--refused", "--host", "a.example", "-n", "7")
    head, second, first = told.out.splitlines()
    assert head.split()[-4:] == ["WHERE", "END", "IN", "OUT"]
    assert "\x1b" not in told.out
    shown = "23456789 ann fetch GET a.example:443/b 200 1,234 5"
    assert first.split()[3:] == shown.split()
    assert "x_y" in second
    assert "host=a.example&refused=true&limit=7" in stage.daemon.requests[-1][1]
    stage.daemon.canned["/api/v1/egress"] = {"visits": [], "next": None}
    assert "nobody" in stage.run("egress").err
    assert stage.run("egress", "log", "--json").out.strip().startswith("{")


FILE = """
[egress]
private = ["Wiki.LAN.", "127.0.0.1", "*.corp.example"]
requests = 7
max_mb = 2
intercept = true

[[egress.allow]]
host = "API.Example.com"
methods = ["GET"]
path = "/v1/*"
headers = { Authorization = "Bearer $SECRET{api/key}" }
agents = ["research-*"]
tools = ["http", "exec"]
boxes = true

[[egress.allow]]
host = "*.example.org"
"""


def test_who_reaches_what_is_read_from_the_file(tmp_path: Path):
    (tmp_path / "config.toml").write_text(FILE)
    ways = to_ways(load(environment={"HOLDFAST_HOME": str(tmp_path)}))
    api = Allowed(
        host="api.example.com",
        methods=("GET",),
        path="/v1/*",
        headers={"Authorization": "Bearer $SECRET{api/key}"},
    )
    both = ways.reach(task="t", agent="research-1", tool="http")
    assert both.allowed == (api, Allowed(host="*.example.org"))
    assert (both.requests, both.bytes, both.intercept, both.web) == (7, 2 << 20, True, True)
    assert both.private == ("wiki.lan", "127.0.0.1", "*.corp.example")
    assert ways.reach(task="t", agent="other", tool="http").allowed == both.allowed[1:]
    inside = ways.reach(task="t", agent="research-1", tool="exec", box=True)
    assert (inside.allowed, inside.web) == ((api,), False)
    assert not ways.reach(task="t", agent="other", tool="exec", box=True).ways


def test_boxes_have_no_network_unless_somebody_says_so(tmp_path: Path):
    ways = to_ways(load(environment={"HOLDFAST_HOME": str(tmp_path)}))
    assert not ways.reach(task="t", agent="a", tool="exec", box=True).ways
    (web,) = ways.reach(task="t", agent="a", tool="http").ways
    assert (web.host, web.methods) == ("*", ("GET", "HEAD"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('host = "0x7f.1"', "expected the name of a host"),
        ('host = "a b"', "expected the name of a host"),
        ('host = "https://a.example"', "expected the name of a host"),
        ('host = "a.example"\nmethods = ["get"]', "expected one of GET"),
        ('host = "a.example"\nheaders = { Authorization = "Bearer abc" }', "a key is not for this"),
        ('host = "a.example"\nheaders = { Host = "b" }', "can be put in"),
        ('host = "a.example"\nheaders = { X-A = "$SECRET{Bad Name}" }', "plain text and $SECRET"),
        ('host = "a.example"\nheaders = { X-A = "a\\r\\nb" }', "plain text and $SECRET"),
        ('host = "a.example"\nport = 80\nheaders = { X-Key = "$SECRET{k}" }', "expected port 443"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_line(row: str, said: str, tmp_path: Path):
    (tmp_path / "config.toml").write_text(f"[[egress.allow]]\n{row}\n")
    with pytest.raises(Invalid) as found:
        load(environment={"HOLDFAST_HOME": str(tmp_path)})
    assert said in str(found.value)
    assert "abc" not in str(found.value)


def test_a_row_that_no_box_can_use_is_pointed_out(tmp_path: Path):
    row = '[[egress.allow]]\nhost = "a.example"\npath = "/v1/*"\nboxes = true\n'
    for said, opened in ((1, "false"), (0, "true")):
        text = f"[egress]\nintercept = {opened}\n{row}"
        (tmp_path / "config.toml").write_text(text)
        warnings = load(environment={"HOLDFAST_HOME": str(tmp_path)}).warnings
        assert len([one for one in warnings if "egress.allow 1 (a.example)" in one]) == said
