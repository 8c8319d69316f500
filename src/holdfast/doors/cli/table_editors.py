"""The commands about editors and the agents of others."""

from __future__ import annotations

from .command import Command

EDITORS = (
    Command(
        "acp",
        "Talk with an editor: an agent of the Agent Client Protocol on stdin and stdout.",
        "editors:acp",
        examples=(("holdfast acp", "what the editor is told to start"),),
        more="The editor starts it, not you: docs/guides/acp.md shows the lines for Zed and others."
        " Each prompt is a durable task; it goes on when the editor is closed.",
    ),
)
