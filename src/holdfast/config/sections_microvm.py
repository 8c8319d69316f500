"""The table `[microvm]`."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from .section import Section, word


class MicroVM(Section):
    """Boxes with a kernel of their own: `box.kind = "microvm"`."""

    kernel: str = word(
        "", "The guest's kernel; empty: the one `scripts/guest_kernel` fetched.", "/opt/vmlinuz"
    )
    root: str = word("", "An image of the guest's system; empty: made once.", "/opt/root.img")
    emulate: bool = word(
        False, "Emulate a processor where KVM starts no guest: slow, for trying it out."
    )

    @field_validator("kernel", "root")
    @classmethod
    def _is_absolute(cls, value: str) -> str:
        if value and not Path(value).is_absolute():
            raise ValueError("expected an absolute path")
        return value
