"""The table `[audit]`: how often it is signed, how long its words are kept, and its copy."""

from __future__ import annotations

from pathlib import PurePosixPath

from pydantic import field_validator

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
        "", "A file (.jsonl) below the home that gets every record as well.", "audit.jsonl"
    )

    @field_validator("mirror")
    @classmethod
    def _is_a_file_of_its_own(cls, value: str) -> str:
        """What is there and is no mirror would be moved aside: it must not be any other file."""
        path = PurePosixPath(value)
        if value and (path.is_absolute() or ".." in path.parts or path.suffix != ".jsonl"):
            raise ValueError("expected a file below the home whose name ends with .jsonl")
        return value
