"""A browser that was taken over: whatever it says, the house stays up and the model is told."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.tools.browser.cdp import LARGEST, Cdp, Gone, Pipe, Said, Silent
from holdfast.adapters.tools.browser.options import BrowserOptions
from holdfast.adapters.tools.browser.patterns import redacted
from holdfast.adapters.tools.browser.protocol import AxNode, AxTree, AxValue
from holdfast.adapters.tools.browser.snapshot import MOST, in_order, listed
from holdfast.core.message import Failed
from holdfast.testing.plain_boxes import PlainBoxes
from tests.adapters.browser_stage import on_stage

pytestmark = pytest.mark.anyio

SPEAK = """#!/usr/bin/python3
import itertools, json, os, sys
def say(data): os.write(4, data if isinstance(data, bytes) else json.dumps(data).encode() + b"\\0")
def heard():
    held = b""
    while piece := os.read(3, 65536):
        held += piece
        *whole, held = held.split(b"\\0")
        for each in whole: yield json.loads(each)
"""
USUAL = """
def usual(asked, **more):
    result = {"product": "x", "userAgent": "x", "targetId": "t", **more}
    if asked["method"] == "Target.createTarget":
        say({"method": "Target.attachedToTarget", "params": {"sessionId": "s",
             "targetInfo": {"targetId": "t", "type": "page"}}})
    say({"id": asked["id"], "result": result})
"""
STARTS = {
    "says nothing": "for _ in heard(): pass",
    "ends at once": "sys.exit(3)",
    "ends in the middle": 'next(heard()); say(b\'{"id":1,"res\'); sys.exit(0)',
    "says what is no JSON": "next(heard()); say(b'\\xff\\xfe{{{\\0')",
    "says JSON of no sense": "next(heard()); say(b'[[[[]]]]\\0')",
    "nests without end": "next(heard()); say(b'[' * 1_000_000 + b'\\0')",
    "answers what was not asked": "[say({'id': 99, 'result': {}}) for _ in heard()]",
    "answers with the wrong things": "[say({'id': e['id'], 'result': [1]}) for e in heard()]",
    "writes without an end": "\nwhile True: say(b'x' * 65536)",
}
LATER = {
    "floods with events": "\n    while True: say({'method': 'Page.lifecycleEvent', "
    "'sessionId': 's', 'params': {'frameId': 't', 'loaderId': 'l', 'name': 'x' * 1000}})",
    "answers with much too much": "\n    say(b'{\"id\":%d,\"result\":{' % e['id'])\n"
    "    for _ in range(500): say(b' ' * 65536)\n    say(b'}}\\0')",
    "wants a word a thousand times": "\n    [say({'method': 'Fetch.authRequired', "
    "'sessionId': 's', 'params': {'requestId': str(i), 'authChallenge': "
    "{'source': 'Proxy'}}}) for i in range(9999)]",
    "opens tabs without end": "\n    [say({'method': 'Target.attachedToTarget', 'params': "
    "{'sessionId': str(i), 'targetInfo': {'targetId': str(i), 'type': 'page', 'openerId': 't'}}})"
    " for i in range(2000)]",
    "says that its page crashed": "\n    say({'method': 'Inspector.targetCrashed', 'sessionId': "
    "'s', 'params': {}}); say({'id': e['id'], 'result': {'loaderId': 'l'}})",
    "dies": "\n    sys.exit(9)",
}


def browser(place: Path, script: str) -> BrowserOptions:
    program = place / "browser"
    program.write_text(SPEAK + USUAL + script)
    program.chmod(0o700)
    return BrowserOptions(
        executable=str(program), load_seconds=1.0, act_seconds=0.5, idle_seconds=60.0
    )


@pytest.mark.parametrize("script", STARTS.values(), ids=STARTS.keys())
async def test_one_that_comes_up_wrong_is_told_and_left(tmp_path: Path, script: str):
    with anyio.fail_after(30):
        async with on_stage(tmp_path, browser(tmp_path, script), boxes=PlainBoxes()) as stage:
            for _ in range(2):
                code, text = await stage.fails("open", url="about:blank")
                assert code == "browser_failed"
                assert text.startswith("no browser came up: ")


@pytest.mark.parametrize("script", LATER.values(), ids=LATER.keys())
async def test_one_that_turns_bad_is_closed(tmp_path: Path, script: str):
    turns = "\nfor e in heard():\n  if e['method'] == 'Page.navigate':" + script
    options = browser(tmp_path, turns + "\n  else: usual(e)")
    with anyio.fail_after(40):
        async with on_stage(tmp_path, options, boxes=PlainBoxes()) as stage:
            outcome = await stage.run("open", url="http://example.com/")
            assert isinstance(outcome, Failed)
            assert outcome.code in {"browser_gone", "too_large", "page_crashed"}
            await stage.browsers.release(stage.job.task)


class Scripted:
    """A `Running` that says these pieces; at "" it waits until it is asked something more."""

    def __init__(self, *pieces: bytes | str) -> None:
        self.pieces = list(pieces)
        self.asked = anyio.Semaphore(0)

    async def send(self, data: bytes) -> None:
        self.asked.release()

    async def receive(self) -> bytes:
        while self.pieces and isinstance(self.pieces[0], str):
            await self.asked.acquire()
            del self.pieces[0]
        if not self.pieces:
            await anyio.sleep_forever()
        piece = self.pieces.pop(0)
        assert isinstance(piece, bytes)
        return piece

    def complaint(self) -> str:
        return "first\nlast words"

    async def wait(self) -> int:
        return 0

    async def kill(self) -> None: ...


async def test_a_message_is_whole_however_it_is_cut():
    data = b'{"id":1}\0{"id":2}\0{"id":3}\0'
    for size in (1, 2, 3, 7, 100):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        pipe = Pipe(Scripted(*pieces, b""))
        assert [await pipe.receive() for _ in range(3)] == data.split(b"\0")[:-1]
        with pytest.raises(Gone, match="last words"):
            await pipe.receive()


async def test_a_message_without_end_does_not_fill_the_memory():
    piece = b"x" * (1 << 20)
    pipe = Pipe(
        Scripted("", b'{"id":1,', *[piece] * 200, b"\0", "", b'{"id":2,"result":{"a":1}}\0')
    )
    tracemalloc.start()
    cdp = Cdp(pipe, lambda _event: None)
    async with anyio.create_task_group() as group:
        group.start_soon(cdp.listen)
        with pytest.raises(Exception, match="has more than"):
            await cdp.call("Some.thing", dict)
        assert await cdp.call("Some.thing", dict) == {"a": 1}
        group.cancel_scope.cancel()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3 * LARGEST


async def test_every_command_ends():
    pipe = Pipe(Scripted("", b'{"id":1,"error":{"message":"no"}}\0', b'{"id":7}\0{"id":-3}\0'))
    cdp = Cdp(pipe, lambda _event: None)
    async with anyio.create_task_group() as group:
        group.start_soon(cdp.listen)
        with pytest.raises(Said, match="no"):
            await cdp.call("Some.thing", dict)
        with pytest.raises(Silent, match="no answer to Some"):
            await cdp.call("Some.thing", dict, seconds=0.05)
        group.cancel_scope.cancel()
    with pytest.raises(Gone):
        await cdp.call("Some.thing", dict)


def test_a_tree_that_bites_its_tail_and_never_ends_is_cut():
    nodes = [
        AxNode(
            node_id=str(number),
            child_ids=tuple(map(str, range(1_000))),
            role=AxValue(value="button"),
            name=AxValue(value="x" * 10_000),
            element=number + 1,
        )
        for number in range(1_000)
    ]
    ordered = list(in_order(AxTree(nodes=tuple(nodes)).nodes))
    assert len(ordered) == 1_000
    seen = listed([("f", node) for node in ordered])
    assert (len(seen.elements), seen.truncated) == (MOST, True)
    assert seen.elements[-1]["nth"] == MOST - 1
    assert len(seen.elements[0]["name"]) == 300


def test_what_looks_like_a_key_is_found_fast_and_words_are_left():
    plain = "a " * 100 + "the/quick/brown/fox/jumps/over/the/lazy/dog/and/runs " + "x" * 100
    assert redacted(plain) == plain
    path = "https://example.com/Some/Long/Path/With/Many/Parts/And/Year/2026/Page1"
    assert redacted(path) == path
    for key in (
        "sk-" + "a1" * 12,
        "github_pat_" + "A1b2" * 6,
        "xoxb-1234567890-abc",
        "AKIA0123456789ABCDEF",
        "0123456789abcdef" * 3,
        "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZkdI==",
    ):
        assert redacted(f"key: {key}.") == "key: [REDACTED]."
    redacted("A1" * 1_000_000 + "-" * 1_000_000 + "sk-" * 300_000)
