"""LiteLLM's proxy in an environment of its own outside this checkout, installed once if possible.

`HOLDFAST_BENCH_PEERS` names a prepared environment instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

from benchmarks.measure import ROOT

CONFIG = """\
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: http://127.0.0.1:{port}/v1
      api_key: none
litellm_settings:
  telemetry: false
general_settings:
  master_key: {key}
  disable_spend_logs: true
"""


def wanted() -> str:
    """The pinned version, as `pyproject.toml` has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (requirement,) = project["optional-dependencies"]["bench-peers"]
    return requirement


def environment(*, install: bool = True) -> Path | str:
    """The folder of the environment that has it; or why there is none."""
    place = Path(os.getenv("HOLDFAST_BENCH_PEERS") or Path.home() / ".cache" / "holdfast-bench")
    ready = place / f".has-{wanted().replace('[', '-').replace(']', '')}"
    if ready.exists() or (os.getenv("HOLDFAST_BENCH_PEERS") and (place / "bin/litellm").exists()):
        return place
    if not install:
        return f"{wanted()} is not installed: the figure `calls` does that"
    print(f"  installing {wanted()} into {place}: once, a few minutes", file=sys.stderr, flush=True)
    try:
        venv.create(place, clear=True, symlinks=True, with_pip=True)
        command = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", wanted()]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=1200)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return f"{wanted()} could not be installed: {said.strip().splitlines()[-1]}"
    ready.touch()
    return place
