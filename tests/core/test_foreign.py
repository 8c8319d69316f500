"""JSON that somebody else wrote is of the wanted shape, or it is said what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from holdfast.adapters.kept import Kept
from holdfast.core.error import Broken
from holdfast.core.foreign import NotJson, decoded


class Shape(Struct):
    number: int = 0
    text: str = ""


BAD = {
    "no JSON": (b"{", False),
    "no Unicode": (b'{"text": "\xff"}', False),
    "nothing": (b"", False),
    "too deep": (b'{"more": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", False),
    "another shape": (b'{"number": "one"}', True),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_error(name: str):
    data, misshapen = BAD[name]
    with pytest.raises(NotJson) as error:
        decoded(data, Shape)
    assert error.value.misshapen is misshapen
    assert str(error.value)


@pytest.mark.parametrize("name", BAD)
def test_a_file_of_the_home_that_cannot_be_read_is_damaged_and_says_so(name: str, tmp_path: Path):
    """Not only what is no JSON: also bytes that are no text, as a failing disk leaves them."""
    path = tmp_path / "keys.json"
    path.touch(mode=0o600)
    path.write_bytes(BAD[name][0])
    with pytest.raises(Broken, match="is damaged"):
        Kept(path, Shape()).read()


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_comes_it_is_read_or_refused(data: bytes):
    try:
        decoded(data)
    except NotJson:
        return
