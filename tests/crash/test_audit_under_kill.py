"""A real daemon, killed while its audit is written: nothing is lost, and the chain is whole."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest

from holdfast.adapters.audit.signing import signed
from holdfast.core.audit.fact import decode
from holdfast.runtime.proof import prove_file
from holdfast.testing.daemon import Daemon, stage
from holdfast.testing.lives import MANY_LANES, Lives
from holdfast.testing.outside import Outside

pytestmark = pytest.mark.timeout(240)

AUDITED = {
    **MANY_LANES,
    "HOLDFAST_AUDIT_MIRROR": "audit.jsonl",
    "HOLDFAST_AUDIT_CHECKPOINT_EVERY": "7",
}


def test_ten_kills_lose_no_record_and_leave_database_and_mirror_whole() -> None:
    """Part of row GC-89g; part of row OC-94."""
    with stage("audit") as folder:
        home = folder / "home"
        with Daemon(home, AUDITED) as daemon:
            lives = Lives(daemon, Outside(folder / "workspace"), random.Random(5), 400)
            for _ in range(10):
                lives.live()
            lives.finish()
            daemon.start()
            proof = daemon.get("/api/v1/audit/verify")
            assert proof["ok"], proof
            assert daemon.stop() < 20
        mirror = home / "audit.jsonl"
        mirrored = prove_file(mirror, signed, mirror=True)
        assert mirrored.ok, mirrored
        assert mirrored.size == proof["size"] + 1  # the stop is in it too
        lines = mirror.read_bytes().splitlines()
        bodies = [msgspec.json.decode(one, type=dict[str, msgspec.Raw])["body"] for one in lines]
        kinds = Counter(decode(bytes(body)).kind for body in bodies)
        too_early = lives.moments["starting"]
        assert daemon.lives - too_early <= kinds["house.started"] <= daemon.lives
        assert kinds["task.submitted"] >= len(lives.acknowledged)
        assert kinds["call.judged"] > 30
