"""The kernel of machines in tests: fetched once per user, and kept outside the checkout."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "guest_kernel"
_SECONDS = 300
HOME = Path.home() / ".cache" / "holdfast-test"


@functools.cache
def missing() -> str:
    """Why no machine can be booted here; empty if one can."""
    for program in ("qemu-system-x86_64", "busybox", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        done = subprocess.run(
            [str(_SCRIPT), str(HOME / "cache" / "microvm" / "kernel")],
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "a guest kernel cannot be fetched in time"
    return "" if done.returncode == 0 else f"no guest kernel: {done.stderr.strip()[-200:]}"
