"""What was put into a request is not read back out of its answer: exact copies become asterisks.

An asterisk for each byte, so that lengths stay true; nothing is held back but what may be the
beginning of a copy. Copies in other writings than `core.redact` knows are not seen.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from holdfast.core.redact import spellings

_SHORTEST = 4


class Veil:
    """Covers these values, in headers and in a body that comes in pieces."""

    def __init__(self, values: Sequence[str]) -> None:
        forms = {form for value in values for form in _forms(value)}
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._held = b""

    def header(self, value: bytes) -> bytes:
        for form in self._forms:
            value = value.replace(form, b"*" * len(form))
        return value

    def body(self, data: bytes) -> bytes:
        """What may be shown by now."""
        if not self._forms:
            return data
        data = self.header(self._held + data)
        begun = max(_begun(data, form) for form in self._forms)
        self._held = data[len(data) - begun :]
        return data[: len(data) - begun]

    def rest(self) -> bytes:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, b""
        return held


def _forms(value: str) -> Iterator[bytes]:
    if len(value) >= _SHORTEST:
        raw = value.encode()
        yield raw
        yield base64.b64encode(raw)
        yield quote(value, safe="").encode()
        yield from (one.encode() for one in spellings(value))


def _begun(data: bytes, form: bytes) -> int:
    """How many bytes at the end may be the beginning of `form`."""
    start = max(0, len(data) - len(form) + 1)
    while (start := data.find(form[:1], start)) >= 0:
        if form.startswith(data[start:]):
            return len(data) - start
        start += 1
    return 0
