"""Noticing that a task goes in circles: what was tried, what came of it, how often."""

from __future__ import annotations

from msgspec.structs import replace

from .ids import digest
from .message import EffectClass, Outcome, Refused, Returned, ToolCall, words
from .task import Habits

WINDOW = 15
WARN_AT = 2
BLOCK_AT = 4
GIVE_UP_AT = 9
STREAK_TO_RECOVERY = 2
FAILURES_TO_STOP = 3
SUCCESSES_TO_LEAVE = 3
IDLE_TO_FINAL = 6
IDLE_TO_STOP = 9
MAX_NUDGES = 5
LOOP = "loop"
CRASHES_TO_STOP = 20


def same_results(habits: Habits, call: ToolCall) -> int:
    """How often this very call gave its latest result in the last `WINDOW` results."""
    mine = [result for key, result in habits.recent if key == call.key and result]
    return mine.count(mine[-1]) if mine else 0


def same_calls(habits: Habits, call: ToolCall) -> int:
    return sum(key == call.key for key, _ in habits.recent)


def final_only(habits: Habits) -> bool:
    """True when the model has made no progress for so long that only an answer is still wanted."""
    return habits.idle_steps >= IDLE_TO_FINAL


def exhausted(habits: Habits) -> str:
    """Why the task should stop and ask a human, or empty."""
    if habits.recovering and habits.recovery_failures >= FAILURES_TO_STOP:
        return "needs_guidance"
    return "no_progress" if habits.idle_steps >= IDLE_TO_STOP else ""


def learned(habits: Habits, call: ToolCall, outcome: Outcome, *, steady: bool = True) -> Habits:
    """The habits after one more answer; `steady` if nothing else was at work meanwhile."""
    key, result = call.key, _mark(outcome)
    recent = (*habits.recent, (key, result))[-WINDOW:]
    habits = replace(habits, recent=recent)
    if isinstance(outcome, Refused):
        return habits
    if isinstance(outcome, Returned):
        good = {**habits.good, key: call.id} if call.stable and steady else habits.good
        return _succeeded(replace(habits, good=good), f"{key}{result}", outcome)
    streak = habits.failure_streak + 1
    return replace(
        habits,
        failure_streak=streak,
        success_streak=0,
        recovery_failures=habits.recovery_failures + habits.recovering,
        recovering=habits.recovering or streak >= STREAK_TO_RECOVERY,
        failures=(*habits.failures, _failure(call, outcome))[-6:],
    )


def _succeeded(habits: Habits, what: str, outcome: Returned) -> Habits:
    fresh = what not in habits.seen and not outcome.reused
    success = habits.success_streak + 1
    still = habits.recovering and success < SUCCESSES_TO_LEAVE
    return replace(
        habits,
        seen=habits.seen | {what},
        idle_steps=0 if fresh else habits.idle_steps,
        failure_streak=0,
        success_streak=success,
        recovering=still,
        recovery_failures=habits.recovery_failures if still else 0,
    )


def _mark(outcome: Outcome) -> str:
    """Equal for equal results; empty for a call blocked as a loop, which says nothing new."""
    if isinstance(outcome, Refused) and outcome.rule == LOOP:
        return ""
    return digest([type(outcome).__name__, words(outcome)])


def disturbed(habits: Habits, effect: EffectClass) -> Habits:
    """The habits once something that may change the world has begun: old results are stale."""
    return habits if effect is EffectClass.READS or not habits.good else replace(habits, good={})


def _failure(call: ToolCall, outcome: Outcome) -> str:
    arguments = str(call.arguments)[:220]
    return f"{call.tool} {arguments}: {words(outcome)[-420:]}"
