"""`holdfast acp`: an editor at stdin and stdout talks with an agent here."""

from __future__ import annotations

import os
import sys

import anyio

from holdfast.doors.acp.agent import serve
from holdfast.doors.acp.daemon import Daemon

from .starting import start
from .stop import OK
from .version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given


def acp(desk: Desk, given: Given) -> int:
    """Until the editor goes. Nothing but messages may be written to its pipe."""
    if desk.screen.in_is_terminal:
        desk.screen.note("an editor talks here, in JSON; docs/guides/acp.md says how to set it up")
    daemon = Daemon(desk.daemon.socket, lambda: start(desk.home, desk.serve))
    try:
        anyio.run(serve, daemon, VERSION)
    except* BrokenPipeError:
        # A thread may still wait for words of an editor that does not read any more.
        sys.stderr.flush()
        os._exit(OK)
    return OK
