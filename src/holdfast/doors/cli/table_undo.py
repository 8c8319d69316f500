"""The command that undoes what a task changed."""

from __future__ import annotations

from .command import CHECKING, Command, Option

UNDO = (
    Command(
        "task undo",
        "Put back the files that an ended task changed.",
        "undoing:undo",
        arguments=(("TASK", "a task, or an undo of one, to take that back: 3f2a91bc.1"),),
        takes=(1, 1),
        options=(
            Option("--dry-run", "", "show what would be done, and do nothing"),
            Option("--call", "ID", "only what this one call changed"),
        ),
        exits=CHECKING,
        examples=(
            ("holdfast task undo 3f2a91bc --dry-run", "look first"),
            ("holdfast task undo 3f2a91bc", "what somebody else changed since is left alone"),
            ("holdfast task undo 3f2a91bc.1", "undo the undo"),
        ),
        more="Newest first. A file that somebody else has changed since stays as it is and is"
        " named; then it exits 1. Effects that cannot be undone are named on stderr, and so are"
        " commands of which nobody knows what they changed.",
    ),
)
