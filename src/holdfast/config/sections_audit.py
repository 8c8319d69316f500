"""The table `[audit]`: how often it is signed, how long its words are kept, and its copy."""

from __future__ import annotations

from .section import Section, number, word


class Audit(Section):
    """What must be provable later."""

    checkpoint_every: int = number(
        1_000, 1, 1_000_000, "records", "At the latest after so many a checkpoint is signed."
    )
    keep_days: int = number(
        365, 0, 36_500, "days", "Then only the hashes of a record are kept; 0: all for ever."
    )
    mirror: str = word(
        "", "A file that every record is appended to as well, below the home.", "audit.jsonl"
    )
