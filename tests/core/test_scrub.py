"""Which variables are secrets, and what a file of variables says."""

from __future__ import annotations

import pytest

from holdfast.config.sections_vault import SCRUBBED
from holdfast.core.dotenv import parsed
from holdfast.core.error import Invalid
from holdfast.core.redact import Redactor
from holdfast.core.scrub import secret_variables

KNOWN = Redactor([("github", "canary-0123456789")])


def test_variables_go_by_what_they_are_called():
    """Row KV-27."""
    gone = {
        "OPENAI_API_KEY": "a",
        "GH_TOKEN": "b",
        "ANTHROPIC_AUTH_TOKEN": "c",
        "DB_PASSWORD": "d",
        "PASSWORD": "e",
        "AWS_SECRET_ACCESS_KEY": "f",
        "CLIENT_SECRET": "g",
        "SECRET_X": "h",
        "HOLDFAST_SECRET_X": "i",
        "gh_token": "j",
    }
    stay = {"PATH": "/bin", "MY_SECRETARY": "Ann", "TOKENIZER": "bpe", "KEYBOARD": "de", "X": ""}
    assert secret_variables({**stay, **gone}, SCRUBBED, KNOWN.holds) == tuple(gone)


def test_variables_go_by_what_they_say_however_it_is_spelled():
    """Part of row KV-27."""
    environment = {
        "HARMLESS": "canary-0123456789",
        "URL": "https://me:canary-0123456789@host/",
        "CODED": "Y2FuYXJ5LTAxMjM0NTY3ODk=",
        "HOME": "/home/me",
    }
    assert secret_variables(environment, (), KNOWN.holds) == ("HARMLESS", "URL", "CODED")


def test_patterns_are_patterns_and_no_pieces():
    """Part of row KV-27."""
    environment = {"MY_KEY": "a", "MY_KEYS": "b"}
    assert secret_variables(environment, ("*_KEY",), KNOWN.holds) == ("MY_KEY",)


def test_a_file_of_variables_is_read_as_shells_write_it():
    text = """\ufeff
# a comment
A=plain
export B = spaced # a comment
C='single # $quoted'
D="two
lines and a \\" quote\\n"
E=
F=with=equals#and-hash
"""
    assert parsed(text) == [
        ("A", "plain"),
        ("B", "spaced"),
        ("C", "single # $quoted"),
        ("D", 'two\nlines and a " quote\n'),
        ("E", ""),
        ("F", "with=equals#and-hash"),
    ]


@pytest.mark.parametrize("text", ["canary", "A=1\n=canary", "A B=canary", 'A="canary', "1A=canary"])
def test_what_is_no_variable_is_refused_with_its_line_and_without_its_text(text: str):
    with pytest.raises(Invalid, match=r"line \d") as refused:
        parsed(text)
    assert "canary" not in str(refused.value)
