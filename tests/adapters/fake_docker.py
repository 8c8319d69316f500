"""A `docker` whose `sandbox` runs commands here and writes down what it was called with."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROGRAM = """#!{python}
import json, os, subprocess, sys

here = {folder!r}
words = sys.argv[1:]
record = {{"words": words}}
if "--env-file" in words:
    file = words[words.index("--env-file") + 1]
    record |= {{"environment": open(file).read(), "mode": os.stat(file).st_mode & 0o777}}
with open(here + "/calls", "a") as calls:
    calls.write(json.dumps(record) + "\\n")
if words[:1] != ["sandbox"] or os.path.exists(here + "/fails-" + words[1]):
    print("docker: 'sandbox' is not a docker command.", file=sys.stderr)
    sys.exit(1)
if words[1] == "exec":
    rest, folder, variables = words[2:], "/", {{"PATH": os.defpath}}
    while rest[0].startswith("-"):
        flag = rest.pop(0)
        if flag == "--workdir":
            folder = rest.pop(0)
        elif flag == "--env-file":
            lines = open(rest.pop(0)).read().splitlines()
            variables |= dict(line.split("=", 1) for line in lines)
    done = subprocess.run(rest[1:], cwd=folder, env=variables).returncode
    sys.exit(128 - done if done < 0 else done)
"""


class FakeDocker:
    """What stands on the PATH."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.program = str(folder / "docker")
        Path(self.program).write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
        Path(self.program).chmod(0o755)

    def fails(self, word: str) -> None:
        (self._folder / f"fails-{word}").touch()

    def calls(self) -> list[list[str]]:
        return [call["words"] for call in self.records()]

    def records(self) -> list[dict[str, Any]]:
        if not (self._folder / "calls").exists():
            return []
        lines = (self._folder / "calls").read_text().splitlines()
        return [json.loads(line) for line in lines]
