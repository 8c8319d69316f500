"""What a person may want to know about words from outside: advice, which decides nothing.

Strangers give orders in turns of phrase that are well known, and let a model carry data out in ways
that are well known too. Finding them proves nothing, and not finding them proves less: what is
allowed is decided by where a value came from (`core.gate.labels`), never by how a text reads. So
this is computed when somebody looks, is stored nowhere, and nothing that judges can reach it.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import islice

from anyio import to_thread
from msgspec import Struct

from holdfast.core.gate.labels import PERSON
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import ToolAnswered, words
from holdfast.core.patterns import SHAPES
from holdfast.core.task import Task

from .house import House

ANSWER = "answer"
"""Where a remark is about what the task itself said in the end."""

_MOST = 20
_LONGEST = 200_000
_SHOWN = 80
_RUNS = 50
_PLACES = 1_000
_SPACES = re.compile(r"[^\S\n]+")
_UNSEEN = re.compile(
    "[\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\U000e0000-\U000e0fff]"
)


class Remark(Struct, frozen=True, kw_only=True):
    """One thing that was noticed: in an answer from `source`, or in the task's own. `words` are
    those of the text, cut; none where showing them would show a secret."""

    source: str
    what: str
    words: str = ""
    call: CallId = CallId("")

    @property
    def sentence(self) -> str:
        about = "the answer" if self.source == ANSWER else f"what {self.source} answered"
        shown = f": “{self.words}”" if self.words else ""
        return f"{about} {self.what}{shown}"


_READER = r"(?:ai|a\.i\.|llm|chat ?bot|language model|(?:ai )?assistant|ai (?:agent|model))s?"
_ITS = r"(?:your|all|any|every|the|these|those)"
_EARLIER = r"(?:previous|prior|earlier|preceding|above|foregoing|system)"
_RULES = r"(?:instructions?|prompts?|directions?|directives?|guidelines?|guardrails?|orders|rules)"
_PROMPT = r"(?:(?:system|hidden|initial) (?:prompt|instructions|message))"
_KEYS = r"(?:api keys?|credentials?|passwords?|secrets?|access tokens?|private keys?)"
_FORGETTING = ("ignore", "disregard", "forget", "override", "overrule", "bypass")
_TELLING = ("reveal", "show", "print", "repeat", "output", "disclose", "leak", "send", "tell me")
_HAILING = ("instruction", "message", "notice", "note", "attention", "orders", "dear", "hello")
_ASKING = ("tell", "inform", "mention", "alert", "notify", "ask")

_ORDERS: Mapping[tuple[str, ...], re.Pattern[str]] = {
    words: re.compile(rf"(?:{'|'.join(words)}){rest}")
    for words, rest in (
        (
            _FORGETTING,
            rf"(?: \w+){{0,3}}? (?:{_EARLIER}(?: \w+){{0,3}}? {_RULES}\b"
            rf"|{_RULES} (?:above|before|so far|(?:that )?you (?:were|have been) given)\b"
            r"|(?:everything|all|anything) (?:that was |you were |you have been )?"
            r"(?:told|said|above|before)\b"
            rf"|your(?: \w+){{0,2}}? (?:{_RULES}|users?)\b)",
        ),
        (
            ("you are ",),
            rf"(?:(?:now|no longer)(?: \w+){{0,4}}? {_READER}\b"
            r"|(?:now )?(?:in|entering) (?:developer|debug|god|admin|dan|root) mode\b)",
        ),
        (
            ("act ", "behave ", "respond ", "pretend "),
            r"(?:\w+ ){0,4}?(?:unrestricted|jailbroken|unfiltered|"
            r"without (?:any )?(?:restrictions|rules|limits))\b",
        ),
        (("from now on",), r",? you (?:will|must|shall|are to|obey|only)\b"),
        (
            _TELLING,
            rf"(?: \w+){{0,4}}? (?:your(?: \w+){{0,2}}? (?:prompt|{_RULES}|{_KEYS})"
            rf"|the {_PROMPT})\b",
        ),
        (_HAILING, rf"s?,?(?: \w+)? (?:(?:for|to) )?(?:{_ITS} )?(?:\w+ )?{_READER}\b"),
        (("this is an important message from ",), r"\w+"),
        (
            ("do not ", "don't ", "never ", "without "),
            rf"(?:\w+ ){{0,2}}?(?:{'|'.join(_ASKING)})(?:ing)?(?: \w+){{0,4}}? (?:the|your) user\b",
        ),
    )
}
"""Turns of phrase, by the words that each begins with: those are found fast, the rest is matched
only where they stand."""
_MARKS = re.compile(
    r"<\|(?:im_start|im_end|system|user|assistant|end|endoftext|eot_id|start_header_id)\|>"
    r"|\[/?INST\]|<</?SYS>>|<start_of_turn>|</?(?:system|system_prompt|system-reminder)>"
    r"|^[ \t]{0,8}(?:#{1,6} ?)?\[(?:system|assistant)(?: \w+)?\]"
    r"|^[ \t]{0,8}(?:#{1,6} ?)?(?:system|assistant)(?: (?:prompt|message|override))?:[ \t]",
    re.IGNORECASE | re.MULTILINE,
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{24,4000}={0,2}")
_IMAGE = re.compile(
    r"!\[[^\]\[\n]{0,200}\]\(\s{0,3}https?://[^\s)]{1,500}\?[^\s)=]{0,80}=[^\s)]{8,}"
    r"|<img\b[^>]{0,200}\bsrc\s?=\s?[\"']?https?://[^\s\"'>]{1,500}\?[^\s\"'>=]{0,80}=[^\s\"'>]{8,}",
    re.IGNORECASE,
)
_READS, _TALKS = "reads like instructions to a model", "holds marks of a model's own conversation"
_CODED = "holds instructions to a model in base64"
_CARRIES = "holds a picture whose address carries data: showing it sends that"
_GIVES = "looks as if it held a secret"
_REPEATS = "repeats the agent's own instructions"
_LINE = 60
"""So long is a line of instructions that nobody says by chance."""


def remarks(text: str) -> Iterator[tuple[str, str]]:
    """What there is to say about a text, each with the words that it is about. Pure."""
    plain = _plain(text[:_LONGEST])
    if found := _order(plain):
        yield _READS, found
    if mark := _MARKS.search(plain):
        yield _TALKS, _cut(mark[0])
    if found := next((order for said in _decoded(plain) if (order := _order(said))), ""):
        yield _CODED, found
    if image := _IMAGE.search(plain):
        yield _CARRIES, _cut(image[0])
    if any(shape.search(plain) for shape in SHAPES.values()):
        yield _GIVES, ""


def noticed(task: Task) -> tuple[Remark, ...]:
    """Everything worth a remark in what strangers answered to a task, and in its own answer."""
    found = list[Remark]()
    for entry in task.transcript:
        if not isinstance(entry, ToolAnswered) or not set(entry.sources) - {PERSON}:
            continue
        *_, source = (one for one in entry.sources if one != PERSON)  # who was heard last
        for what, said in remarks(words(entry.outcome)):
            found.append(Remark(source=source, what=what, words=said, call=entry.call_id))
    answer = task.answer or ""
    found += [
        Remark(source=ANSWER, what=what, words=said)
        for what, said in remarks(answer)
        if what in (_CARRIES, _GIVES)
    ]
    if line := _repeated(task.request.agent.instructions, answer):
        found.append(Remark(source=ANSWER, what=_REPEATS, words=_cut(line)))
    return tuple(found[:_MOST])


async def advice(house: House, task_id: TaskId) -> tuple[str, ...]:
    """The same of a task by its id, a sentence each, without what must not be said."""
    found = await to_thread.run_sync(noticed, await house.recorder.load(task_id))
    return tuple(dict.fromkeys(house.secrets.redact(one.sentence) for one in found))


def _order(plain: str) -> str:
    """A turn of phrase that gives a model orders; empty if there is none."""
    flat = plain.replace("\n", " ").lower()
    for beginnings, order in _ORDERS.items():
        for place in islice(_places(flat, beginnings), _PLACES):
            if found := order.match(flat, place):
                return _cut(found[0])
    return ""


def _places(flat: str, beginnings: tuple[str, ...]) -> Iterator[int]:
    """Where one of these words begins."""
    for word in beginnings:
        place = flat.find(word)
        while place >= 0:
            if not (place and flat[place - 1].isalnum()):
                yield place
            place = flat.find(word, place + len(word))


def _plain(text: str) -> str:
    """As a model reads it: without what cannot be seen, letters in their usual form, each space
    one. Ends of lines stay: marks stand at their beginning."""
    usual = _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).replace("\u2019", "'")
    return _SPACES.sub(" ", usual)


def _decoded(plain: str) -> Iterator[str]:
    """What runs of base64 say, as far as they are text."""
    for number, run in enumerate(_BASE64.finditer(plain)):
        if number == _RUNS:
            return
        coded = run[0].rstrip("=").translate(str.maketrans("-_", "+/"))
        try:
            said = base64.b64decode(coded + "=" * (-len(coded) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        yield _plain(said)


def _repeated(instructions: str, answer: str) -> str:
    lines = (line.strip() for line in instructions.splitlines())
    return next((line for line in lines if len(line) >= _LINE and line in answer), "")


def _cut(text: str) -> str:
    one = " ".join(text.split())
    return one if len(one) <= _SHOWN else f"{one[: _SHOWN - 1]}…"
