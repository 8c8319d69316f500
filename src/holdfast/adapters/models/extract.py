"""A summary without a language model: sentences and headings taken from the text itself."""

from __future__ import annotations

import re
from collections import Counter

_SENTENCES = 4
_HEADINGS = 12
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a about after all also an and any are as at be been before but by can could did do does "
        "each for from had has have he her his how i if in into is it its just like may me more "
        "most my no not of on one only or other our out over she should so some such than that "
        "the their them then there these they this to two up us use used was we were what when "
        "where which who will with would you your ",
    )
)
_DEFINITION = re.compile(
    r"^\s*(?:export\s+|pub\s+|public\s+|async\s+)*"
    r"(?:def|class|function|func|fn|struct|enum|trait|interface|type)\s+\w+"
)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$")


def summary(name: str, text: str) -> str:
    """What `text` says about itself: its size, its headings or definitions, its key sentences."""
    lines = text.splitlines()
    parts = [f"{name}: {_many(len(lines), 'line')}, {_many(len(text.split()), 'word')}."]
    headings = [found[1] for line in lines if (found := _HEADING.match(line))]
    definitions = [line.strip().rstrip(":{ ") for line in lines if _DEFINITION.match(line)]
    if headings:
        parts.append("Headings:\n" + _listed(headings))
    elif definitions:
        parts.append("Definitions:\n" + _listed(definitions))
    if key := key_sentences(text):
        parts.append("Key sentences, word for word:\n" + "\n".join(f"- {one}" for one in key))
    if not text.strip():
        parts.append("It is empty.")
    return "\n\n".join(parts)


def key_sentences(text: str, count: int = _SENTENCES) -> list[str]:
    """The first sentence and those with the most frequent terms, in the order of the text."""
    sentences = _sentences(text)
    if len(sentences) <= count:
        return sentences
    terms = Counter(word for one in sentences for word in set(_terms(one)))

    def weight(index: int) -> float:
        words = _terms(sentences[index])
        return sum(terms[word] for word in words) / (len(words) + 3) if words else 0.0

    best = sorted(range(1, len(sentences)), key=lambda index: (-weight(index), index))
    return [sentences[index] for index in sorted([0, *best[: count - 1]])]


def _sentences(text: str) -> list[str]:
    """Prose only: no headings, code fences, tables, links by themselves or single words."""
    plain = re.sub(r"^(```|~~~).*?^\1\s*$", "", text, flags=re.DOTALL | re.MULTILINE)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+[.)])\s)", plain)
    found: list[str] = []
    for block in blocks:
        kept = [
            line for line in block.splitlines() if not re.match(r"\s*(#|\||<|!\[|---|===)", line)
        ]
        prose = re.sub(r"^(?:[-*+>]|\d+[.)])\s+", "", " ".join(" ".join(kept).split()))
        found += [one for one in re.split(r"(?<=[.!?…])\s+(?=[\"'(\[]?\w)", prose) if _says(one)]
    return list(dict.fromkeys(found))


def _says(sentence: str) -> bool:
    return len(sentence.split()) >= 4 and sum(map(str.isalpha, sentence)) * 2 > len(sentence)


def _terms(sentence: str) -> list[str]:
    words = (word.lower() for word in re.findall(r"[^\W\d_]{3,}", sentence))
    return [word for word in words if word not in _COMMON]


def _listed(items: list[str]) -> str:
    shown = [f"- {item}" for item in items[:_HEADINGS]]
    if len(items) > _HEADINGS:
        shown.append(f"- … and {len(items) - _HEADINGS} more")
    return "\n".join(shown)


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
