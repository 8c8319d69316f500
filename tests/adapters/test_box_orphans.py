"""What a killed daemon leaves half made is ended by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from holdfast.adapters.boxes.cell import BOX_NAME
from holdfast.adapters.boxes.orphans import clear

SLEEPER = "import time; time.sleep(60)"
LEAVE_ONE = f"""
import subprocess
arguments = [{BOX_NAME!r}, "-c", {SLEEPER!r}]
quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(subprocess.Popen(arguments, executable={sys.executable!r}, **quiet).pid)
"""


def test_a_box_without_a_parent_is_ended_and_one_with_a_parent_is_left_alone() -> None:
    ours = subprocess.Popen([BOX_NAME, "-c", SLEEPER], executable=sys.executable)
    left = subprocess.run(
        [sys.executable, "-c", LEAVE_ONE], capture_output=True, check=True, timeout=20
    )
    orphan = Path(f"/proc/{int(left.stdout)}")
    try:
        # A machine whose orphans go to another reaper than process 1 has none to end.
        if clear():
            deadline = time.monotonic() + 10
            while orphan.exists() and "State:\tZ" not in (orphan / "status").read_text():
                assert time.monotonic() < deadline
        assert ours.poll() is None
    finally:
        ours.kill()
        ours.wait(10)
        if orphan.exists():
            os.kill(int(orphan.name), 9)
