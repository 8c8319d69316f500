"""The escape suite against every kind of box that this machine can run: what wins is counted.

`WINS` is what is known to win, and why; a test fails for a win that is not there, and for one that
is there and no longer wins. The proxy is the same program for every kind: all attacks on it are
made from the default box, some from the others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import anyio
import msgspec
import pytest

from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.adapters.boxes.microvm.kind import MicroVMBoxes
from holdfast.assembly.escape import gate_over
from holdfast.doors.cli.out import plain
from holdfast.ports.box import BoxKind
from holdfast.testing.engines import engine, missing
from holdfast.testing.escape.means import Means, read_beneath, run_exec
from holdfast.testing.escape.suite import Report, entries, run
from tests.adapters import guest_kernel
from tests.contracts import as_user

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MEANS = Means(shell=run_exec, plain=plain, read=read_beneath, gate=gate_over)
SECONDS = 200
USER = 65_532
