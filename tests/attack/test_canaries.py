"""Secrets all over a house, hostile models, a search in every writing: nothing is found."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from urllib.parse import quote

import pytest

from holdfast.testing.canaries.command import BAIT, sweep
from holdfast.testing.canaries.planting import KINDS, Canary, planted, word
from holdfast.testing.canaries.sweep import Sweep


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_canary_is_found_after_a_hostile_run():
    """Part of rows OC-93, OL-25, OL-40 and OL-109."""
    swept = sweep(20)
    assert swept.found == {}
    assert swept.holds
    assert swept.secrets >= 28
    assert swept.used >= 15, "they were really sent to where they belong"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_the_house_does_not_know_for_a_secret_is_found_wherever_it_went():
    """A search that finds nothing would prove nothing."""
    swept = sweep(20, control=True)
    assert {name for found in swept.found.values() for name in found} == {BAIT}
    assert swept.holds


@pytest.mark.parametrize("kind", KINDS)
def test_a_canary_is_found_in_every_writing(kind: str):
    value = KINDS[kind]()
    written = value.encode()
    for data in (
        written,
        base64.b64encode(b"ab" + written),
        base64.urlsafe_b64encode(b"a" + written),
        base64.encodebytes(written),
        written.hex().encode(),
        written.hex().upper().encode(),
        json.dumps({"x": value}).encode(),
        json.dumps(value, ensure_ascii=False).encode(),
        quote(value).encode(),
        quote(value, safe="").lower().encode() if kind != "long" else written,
    ):
        search = Sweep([Canary(name="one", kind=kind, value=value)])
        search.look("here", b"before " + data + b" after")
        search.look("there", b"before and after")
        assert search.places["here"].found.get("one", 0) > 0, data
        assert search.places["there"].found == {}


def test_every_kind_is_planted_and_none_twice():
    canaries = planted(20)
    assert {one.kind for one in canaries} == set(KINDS)
    assert len({one.value for one in canaries}) == 20


def test_it_is_found_in_the_environment_the_words_and_the_memory_of_a_process():
    kept = {name: word(30) for name in ("environment", "words", "memory")}
    search = Sweep(Canary(name=n, kind="long", value=value) for n, value in kept.items())
    script = "import sys; held = sys.stdin.readline(); print(len(held), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, kept["words"]],
        env={**os.environ, "KEPT": kept["environment"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{kept['memory']}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline() == b"31\n"
        search.processes(os.getpid())
        process.kill()
    assert search.places["environments"].found == {"environment": 1}
    assert search.places["command lines"].found == {"words": 1}
    assert set(search.places["memory"].found) == set(kept)
