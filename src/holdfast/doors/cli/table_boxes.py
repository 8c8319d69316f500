"""The commands about boxes."""

from __future__ import annotations

from .command import CHECKING, Command, Option

BOXES = (
    Command(
        "box list",
        "List the boxes that exist now: whose they are, what they use, how they are.",
        "boxes:listed",
        examples=(("holdfast box list", "idle ones go by themselves"),),
    ),
    Command(
        "box test",
        "Try every known way out of the boxes that commands run in.",
        "housekeeping:box_test",
        options=(
            Option("--box", "KIND", "which kind of box (default: the configured one)"),
            Option("--only", "NAME", "this attack alone", repeats=True),
            Option("--control", "", "without any box too, to see which attacks bite here"),
            Option("--list", "", "the attacks, and what each tries"),
        ),
        exits=CHECKING,
        examples=(
            ("holdfast box test", "about a minute; exit 1 when anything got out"),
            ("holdfast box test --control --json > box.json", "with the proof that they bite"),
        ),
        more="The attacks go for decoys that are made for the test, and change nothing of the host."
        " Nothing of the daemon is touched; it may run or not.",
    ),
)
