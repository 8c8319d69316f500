"""What a process of its own answers: it loads what would make every other command slow."""

from __future__ import annotations

import json
import subprocess

from .stop import BROKEN, Stop
from .surroundings import python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Json


def told(*words: str) -> Json:
    """What `holdfast.assembly` says to these words as JSON. Its error is ours."""
    command = [*python(), "-m", "holdfast.assembly", *words]
    answer = subprocess.run(  # noqa: S603  our own interpreter, our own module
        command, capture_output=True, text=True, check=False
    )
    try:
        found: Json = json.loads(answer.stdout)
    except ValueError as error:
        code = answer.returncode if 0 < answer.returncode < 126 else BROKEN
        said, _, hint = answer.stderr.strip().partition("\nhint: ")
        if said.startswith("error: "):
            raise Stop(said.removeprefix("error: "), hint=hint, code=code) from error
        name = next(word for word in words if not word.startswith(("-", "/")))
        last = said.splitlines()[-12:]
        raise Stop("\n".join([f"the {name} itself failed:", *last]), code=code) from error
    return found
