"""What people's words vouch for, value by value."""

from __future__ import annotations

import pytest

from holdfast.core.gate.vouching import Said, addresses, leaves


@pytest.mark.parametrize(
    ("said", "value", "does"),
    [
        ("see https://a.test/Path?Q=1", "https://a.test/Path?Q=1", True),
        ("see https://a.test/Path?Q=1", "HTTPS://A.TEST/Path?Q=1", True),
        ("see https://a.test/Path?Q=1", "https://a.test/path?Q=1", False),
        ("see https://a.test/Path?Q=1", "https://a.test/Path?q=1", False),
        ("see x://A/B", "x://a/b", True),
        ("open example.org, it is secret", "https://example.org/secret", False),
        ("open example.org", "https://example.org", True),
        ("open example.org", "https://www.example.org/", True),
        ("open example.org", "https://example.org?leak=1", False),
        ("open example.org", "https://example.org#leak", False),
        ("ann@home.test wrote", "ann@home.test", True),
        ("ann@home.tests wrote, and ann@home.test", "ann@home.test", True),
        ("pay 50.00", "50", True),
        ("pay 1,000 euros", "1000", True),
        ("pay 1,000 euros", "100", False),
    ],
)
def test_a_value_is_vouched_for_as_it_was_said(said: str, value: str, does: bool):
    assert Said((said,)).says(value) is does
    assert Said(("good morning", said, "and thanks")).says(value) is does
    assert not Said(()).says(value)


def test_a_number_beside_what_it_numbers_may_stand_in_any_text():
    assert Said(("good morning", "delete file 13")).says_of("file_id", "13")
    assert not Said(("we are 13 people",)).says_of("1", "13"), "a name without letters"
    assert not Said(("we are: 13 people",)).says_of("1", "13")
    assert Said(("delete no. 13",)).says_of("1", "13")


def test_of_addresses_in_a_text_those_that_were_said_are_nothing_strange():
    said = Said(("write to ann@home.test",))
    assert list(said.strange("ask ann@home.test and bob@evil.test")) == ["bob@evil.test"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("at 12:30:45 sharp", []),
        ("1:2:3:4 is short", []),
        ("1:2:3:4:5 is long", ["1:2:3:4:5"]),
        ("go to 2001:db8::1", ["2001:db8::1"]),
        ("go to ::1 now", ["::1"]),
        ("go to 10.1.2.3 now", ["10.1.2.3"]),
        ("go to 10.1.2.3:80/x now", ["10.1.2.3:80/x"]),
    ],
)
def test_numbers_that_lead_somewhere_are_told_from_times(text: str, found: list[str]):
    assert list(addresses(text)) == found


def test_nothing_says_nothing():
    assert list(leaves(None)) == []
    assert list(leaves({"a": [1, None, " x "]})) == ["a", "1", "x"]
