"""What a model is shown when the conversation is longer than it can read."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.agent import Agent
from holdfast.core.command import CutContext, Submit
from holdfast.core.context import prompt
from holdfast.core.fitting import fitted, length
from holdfast.core.ids import CallId
from holdfast.core.message import (
    Entry,
    Failed,
    HouseSaid,
    ModelSaid,
    PersonSaid,
    Refused,
    Returned,
    ToolAnswered,
    ToolCall,
)
from holdfast.core.task import Request
from tests.core.given import TASK, Story, again, running

HELLO = PersonSaid(text="mend the roof")


def turn(number: int, output: str, said: str = "") -> list[Entry]:
    """One turn of the model with one call, and its answer."""
    call = ToolCall(id=CallId(f"c{number}"), tool="look", arguments={"page": number})
    answer = ToolAnswered(call_id=call.id, tool="look", outcome=Returned(text=output))
    return [ModelSaid(text=said, calls=(call,)), answer]


def turns(count: int, output: str) -> tuple[Entry, ...]:
    return (HELLO, *(entry for number in range(count) for entry in turn(number, output)))


def size(entries: tuple[Entry, ...]) -> int:
    return sum(map(length, entries))


def test_what_fits_is_left_alone():
    entries = turns(5, "x" * 100)
    assert fitted(entries, size(entries)) is entries


def test_old_output_is_shortened_first_and_no_more_of_it_than_is_needed():
    entries = turns(4, "x" * 5_000)
    shorter = fitted(entries, 13_000)
    lengths = [length(entry) for entry in shorter if isinstance(entry, ToolAnswered)]
    assert lengths == [1_025, 1_025, 5_000, 5_000]
    assert len(shorter) == len(entries)


def test_a_short_answer_and_a_refusal_are_never_shortened():
    refused = ToolAnswered(call_id=CallId("r"), tool="pay", outcome=Refused(reason="x" * 3_000))
    failed = ToolAnswered(call_id=CallId("f"), tool="pay", outcome=Failed(text="y" * 3_000))
    kept, cut, *_ = fitted((refused, failed, HELLO), 2_000)
    assert kept == refused
    assert length(cut) < 3_000


def test_then_the_oldest_turns_are_left_out_and_told_in_a_line_each():
    """Part of row OC-61."""
    entries = turns(60, "word " * 100)
    shorter = fitted(entries, 18_000)
    assert shorter[0] == HELLO
    told = shorter[1]
    assert isinstance(told, HouseSaid)
    head, *lines = told.text.splitlines()
    gone = len(entries) - (len(shorter) - 1)
    assert head == (
        f"{gone} earlier messages are left out to fit what you can read. The last of them:"
    )
    assert len(lines) == 24
    assert max(map(len, lines)) == 180
    assert lines[-1].startswith("- look: word word")
    assert size(shorter) <= 18_000
    assert isinstance(shorter[2], ModelSaid)  # a call and its answer stay together


def test_a_conversation_of_three_hundred_messages_fits():
    """Row OC-61."""
    entries = turns(150, "word " * 1_000)
    assert size(entries) > 700_000
    shorter = fitted(entries, 96_000 * 3)
    assert size(shorter) <= 96_000 * 3
    assert shorter[-1] == entries[-1]
    assert len(fitted(entries, 20_000)) >= 8
    assert size(fitted(entries, 20_000)) <= 20_000


def test_the_newest_turns_stay_whatever_their_size():
    """Part of row OC-61."""
    entries = turns(6, "z" * 1_999)
    shorter = fitted(entries, 10)
    assert len(shorter) >= 8
    assert shorter[-1] == entries[-1]


@given(
    outputs=st.lists(st.integers(0, 6_000), max_size=30),
    words=st.lists(st.integers(0, 300), max_size=5),
    limit=st.integers(0, 40_000),
)
def test_nothing_is_torn_apart_and_the_first_words_stay(
    outputs: list[int], words: list[int], limit: int
):
    later: list[Entry] = [PersonSaid(text="w" * many) for many in words]
    for number, many in enumerate(outputs):
        later += turn(number, "x" * many, said="so")
    entries = (HELLO, *later)
    shorter = fitted(entries, limit)
    assert shorter[0] == HELLO
    assert size(shorter) <= max(limit, size(entries) + 200)
    called = {call.id for entry in shorter if isinstance(entry, ModelSaid) for call in entry.calls}
    answered = {entry.call_id for entry in shorter if isinstance(entry, ToolAnswered)}
    assert called == answered
    assert shorter[-1:] == entries[-1:] or isinstance(shorter[-1], ToolAnswered)


def test_a_models_window_is_respected_with_room_for_its_reply():
    """Part of rows GC-38, OK-19."""
    story = running("x " * 200)
    for number in range(30):
        story.replies(
            ToolCall(id=CallId(f"c{number}"), tool="look", arguments={"page": number}),
            text="hm " * 100,
        )
        story.runs(f"c{number}", Returned(text=f"{number} " * 900))
    whole = size(prompt(story.task).entries)
    assert size(prompt(story.task, window=1_000_000).entries) == whole
    assert size(prompt(story.task, window=8_000).entries) <= 4_000 * 3
    assert size(prompt(story.task, window=30_000).entries) <= 15_000 * 3


def test_what_was_cut_once_stays_cut():
    agent = Agent(context_chars=50_000)
    wanted = Request(prompt="go", agent=agent)
    story = again(Story().when(Submit(id=TASK, request=wanted)))
    for number in range(20):
        story.replies(ToolCall(id=CallId(f"c{number}"), tool="look", arguments={"page": number}))
        story.runs(f"c{number}", Returned(text=f"{number} " * 900))
    before = size(prompt(story.task).entries)
    story.when(CutContext(chars=9_000))
    assert size(prompt(story.task).entries) <= 9_000 < before
