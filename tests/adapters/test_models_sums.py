"""Sums and extracts: the parts of the offline model that need no tool."""

from __future__ import annotations

import pytest

from holdfast.adapters.models.arithmetic import NoSum, evaluate, looks_like_sum
from holdfast.adapters.models.extract import key_sentences, summary


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ("2+2", "4"),
        ("0.1 + 0.2", "0.3"),
        ("7 / 2", "3.5"),
        ("6 / 2", "3"),
        ("2^10", "1024"),
        ("2 to the power of 10", "1024"),
        ("-3 squared", "-9"),
        ("(1 + 2) * 3", "9"),
        ("15% of 240", "36"),
        ("12 times 7", "84"),
        ("3 x 4", "12"),
        ("10 divided by 4", "2.5"),
        ("17 mod 5", "2"),
        ("1,000,000 * 3", "3000000"),
        ("5!", "120"),
        ("the square root of 144", "12"),
        ("sqrt(2)", "1.4142135623731"),
        ("max(1, 200)", "200"),
        ("pi", "3.14159265358979"),
        ("2**200", str(2**200)),
        ("2**-1", "0.5"),
        ("1e3 + 1", "1001"),
    ],
)
def test_sums_are_right(asked: str, value: str):
    assert evaluate(asked) == value


@pytest.mark.parametrize(
    "asked",
    [
        "1/0",
        "9**9**9",
        "2**99999",
        "(-8)**0.5",
        "100000!",
        "1e308 * 10",
        "__import__('os')",
        "().__class__",
        "open('x')",
        "True + 1",
        "[1] * 9",
        "'a' * 9",
        "1 if 1 else 2",
        "sqrt(-1)",
        "sqrt()",
        "factorial(0.5)",
        "2 +",
        "1" * 600,
        "(" * 400 + ")" * 400,
    ],
)
def test_what_is_no_sum_or_too_large_is_refused_quickly(asked: str):
    with pytest.raises(NoSum):
        evaluate(asked)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("2 + 2", True),
        ("15% of 240", True),
        ("sqrt(16)", True),
        ("5!", True),
        ("the meaning of life", False),
        ("42", False),
        ("main.py", False),
        ("2 apples + 3 pears", False),
    ],
)
def test_a_sum_is_known_from_other_words(text: str, is_one: bool):
    assert looks_like_sum(text) is is_one


def test_a_summary_has_headings_and_sentences_from_the_text_itself():
    text = (
        "# Bees\n\nBees are insects that make honey in a hive. They sleep at night.\n\n"
        "## Honey\n\nHoney is what bees make from nectar, and a hive keeps much honey. "
        "Some say that it rains on Tuesdays in spring. A hive of bees has one queen.\n\n"
        "```\ncode is not prose, nor is this\n```\n\n- The bees of a hive share their honey.\n"
    )
    said = summary("bees.md", text)
    assert said.startswith("bees.md: 13 lines, ")
    assert "Headings:\n- Bees\n- Honey" in said
    assert "- Bees are insects that make honey in a hive." in said
    assert "Tuesdays" not in said
    assert "code is not prose" not in said
    for sentence in key_sentences(text):
        assert sentence in text


def test_a_summary_of_code_names_its_definitions():
    said = summary("a.py", "import os\n\nclass Box:\n    def open(self):\n        pass\n")
    assert "Definitions:\n- class Box\n- def open(self)" in said


def test_a_summary_of_nothing_says_so():
    assert summary("a", "") == "a: 0 lines, 0 words.\n\nIt is empty."
