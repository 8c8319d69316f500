"""What the model is shown, and in what order."""

from msgspec.structs import replace

from holdfast.core.agent import Agent
from holdfast.core.budget import Limits
from holdfast.core.command import Claim, Say, Start
from holdfast.core.context import prompt
from holdfast.core.ids import CallId
from holdfast.core.message import (
    Entry,
    Failed,
    HouseSaid,
    ModelSaid,
    PersonSaid,
    Refused,
    Returned,
    Thought,
    ToolAnswered,
    Usage,
    words,
)
from holdfast.core.task import Request, Task
from tests.core.given import Story, queued, read, running, shell, write


def shown(story: Story) -> tuple[Entry, ...]:
    return prompt(story.task).entries


def answers(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.call_id for entry in entries if isinstance(entry, ToolAnswered)]


def test_the_instructions_come_before_the_house_rules():
    agent = Agent(instructions="You are a clerk.")
    task = Task(request=Request(prompt="hi", agent=agent))
    assert prompt(task).system.startswith("You are a clerk.\n\nYou work for a person")
    assert prompt(Task()).system.startswith("You work for a person")


def test_answers_stand_behind_their_turn_in_the_order_of_its_calls():
    story = running().replies(read("a", "1"), read("b", "2"), write("c")).starts("a", "b", "c")
    story.settles("c").when(Say(text="hurry", by="ann")).settles("b").settles("a")
    story.replies(read("d", "4")).runs("d")
    kinds = [type(entry).__name__ for entry in shown(story)]
    assert kinds == [
        *("PersonSaid", "ModelSaid", "ToolAnswered", "ToolAnswered", "ToolAnswered"),
        *("PersonSaid", "ModelSaid", "ToolAnswered"),
    ]
    assert answers(shown(story)) == ["a", "b", "c", "d"]


def test_calls_of_earlier_tasks_may_carry_the_same_ids():
    past: list[Entry] = []
    for n in (1, 2):
        said = ModelSaid(calls=(read("r"),))
        outcome = Returned(text=f"answer {n}")
        past += [said, ToolAnswered(call_id=CallId("r"), tool="read", outcome=outcome)]
    story = queued().when(Claim(owner="w"), Start(history=tuple(past)))
    assert shown(story)[:4] == tuple(past)


def test_an_answer_to_no_call_and_a_turn_without_words_are_left_out():
    orphan = ToolAnswered(call_id=CallId("x"), tool="read", outcome=Returned(text="?"))
    silent = ModelSaid(thoughts=(Thought(text="hm"),))
    story = queued().when(Claim(owner="w"), Start(history=(orphan, silent)))
    assert shown(story) == (PersonSaid(text="do it", by="ann"),)
    assert prompt(story.task).saw == 3


def test_the_model_has_seen_what_the_prompt_was_made_of():
    story = running().replies(read("r")).runs("r")
    assert prompt(story.task).saw == len(story.task.transcript) == 3


def test_the_same_task_gives_the_same_prompt():
    story = running(until="DONE").replies(read("r")).runs("r")
    assert prompt(story.task) == prompt(story.task)


def small(story: Story, chars: int) -> Task:
    agent = replace(story.task.request.agent, context_chars=chars)
    return replace(story.task, request=replace(story.task.request, agent=agent))


def long_story() -> Story:
    story = running()
    outcomes = [Returned(text="a" * 5_000), Failed(text="b" * 5_000), Returned(text="c" * 5_000)]
    for name, outcome in zip("abc", outcomes, strict=True):
        story.replies(shell(name, name)).runs(name, outcome)
    return story


def lengths(task: Task) -> list[int]:
    entries = prompt(task).entries
    return [len(words(entry.outcome)) for entry in entries if isinstance(entry, ToolAnswered)]


def test_old_tool_output_is_shortened_first_and_no_more_than_needed():
    assert lengths(small(long_story(), 20_000)) == [5_000, 5_000, 5_000]
    assert lengths(small(long_story(), 12_000)) == [1_025, 5_000, 5_000]
    assert lengths(small(long_story(), 8_000)) == [1_025, 1_025, 5_000]
    cut = prompt(small(long_story(), 8_000)).entries[4]
    assert isinstance(cut, ToolAnswered)
    assert isinstance(cut.outcome, Failed)
    assert cut.outcome.text.endswith("[older output shortened]")


def test_short_outputs_and_words_are_never_cut():
    story = running("x" * 3_000).replies(shell("s")).runs("s", Refused(reason="r" * 3_000))
    story.replies(shell("t", "true")).runs("t", Returned(text="fine"))
    assert prompt(small(story, 10)).entries == prompt(story.task).entries


def test_a_task_with_a_last_word_is_told_how_far_it_is():
    """Row GC-43."""
    story = running(until="DONE", limits=Limits(steps=9, tokens=1_000))
    story.replies(read("r"), usage=Usage(input=30, output=4, cost=0)).runs("r")
    note = shown(story)[-1]
    assert note == HouseSaid(
        text="[step 2 of 9; ~34 of 1000 tokens; say DONE when the task is done]"
    )
    free = running(until="DONE", limits=Limits(tokens=None))
    assert "~0 of unlimited tokens" in words_of(shown(free)[-1])


def words_of(entry: Entry) -> str:
    assert isinstance(entry, HouseSaid)
    return entry.text
