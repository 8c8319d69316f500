"""A task's life: tried again, given up, lost and found, cancelled, delivered."""

from typing import Any

import pytest

from holdfast.core import event as e
from holdfast.core.budget import Limits, Reservation, Spent
from holdfast.core.command import (
    Cancel,
    Claim,
    ClearCall,
    ConfirmDelivery,
    Recover,
    Release,
    ReleaseAsk,
    Retry,
    SettleCall,
    Start,
    StopChild,
    Submit,
    Tick,
)
from holdfast.core.effect import AskModel, CheckCall, Deliver, RunTool, TellChild
from holdfast.core.evolve import fold
from holdfast.core.gate.policy import Leave
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import (
    EffectClass,
    ModelSaid,
    PersonSaid,
    Refused,
    Returned,
    Unknown,
)
from holdfast.core.rules.life import backoff
from holdfast.core.task import CallState, Child, Delivery, Fault, Parent, Status, Timer
from holdfast.core.view import summary, wake_at
from tests.core.given import (
    HOUR,
    NOW,
    TASK,
    Story,
    again,
    ask,
    busy,
    call,
    failing,
    in_status,
    pay,
    queued,
    read,
    request,
    running,
    write,
)

LIVING = [Status.QUEUED, Status.CLAIMED, Status.RUNNING, Status.WAITING, Status.RETRY_WAIT]
CHILD = TaskId("task_2")


def retried(story: Story) -> Story:
    """The pause is over and a worker has begun the next try."""
    wait = story.task.retry_at - story.now
    return again(story.when(Tick(), after=wait))


# Submitting and taking


def test_a_submitted_task_waits_in_the_queue():
    queued("pay the bill").then(e.Submitted(id=TASK, request=request("pay the bill"), at=NOW))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"prompt": "  \n"}, "empty_prompt"),
        ({"checks": ("make test", " ")}, "empty_check"),
        ({"leave": Leave(preset="carefree")}, "no_such_preset"),
        ({"leave": Leave(allow=("",))}, "bad_rule"),
        ({"leave": Leave(deny=("exec:",))}, "bad_rule"),
    ],
)
def test_a_request_that_cannot_mean_anything_is_refused(fields: dict[str, Any], code: str):
    Story().refuses(Submit(id=TASK, request=request(**fields)), code)


def test_each_claim_fences_off_the_worker_before():
    """Row GC-06."""
    story = queued().when(Claim(owner="w1")).then(e.Claimed(owner="w1", fence=1))
    story.when(Recover(reason="lost"), Claim(owner="w2")).then(e.Claimed(owner="w2", fence=2))
    assert (story.task.owner, story.task.fence) == ("w2", 2)


def test_a_try_begins_under_the_policy_of_that_moment_and_is_counted():
    """Row GC-06."""
    story = running().then(e.Started(attempt=1, at=NOW, policy="7"))
    assert (story.task.policy, story.task.attempt) == ("7", 1)


def test_what_was_said_in_the_session_comes_before_the_task_once():
    past = (PersonSaid(text="hi"), ModelSaid(text="hello"))
    story = queued("and now?").when(Claim(owner="w1"), Start(history=past))
    assert story.task.transcript == (*past, PersonSaid(text="and now?", by="ann"))
    retried(story.when(failing())).when(Recover(reason="lost"), Claim(owner="w2"))
    story.when(Start(history=past))
    assert len(story.task.transcript) == 3


# Failing and trying again


def test_a_failed_try_is_repeated_after_a_pause_until_it_succeeds():
    """Row GC-11. Row OL-70."""
    story = running()
    for number, (least, most) in enumerate([(1_000, 1_500), (2_000, 3_000)], start=1):
        story.when(failing(message=f"broken {number}"))
        assert story.status is Status.RETRY_WAIT
        assert least <= story.task.retry_at - story.now <= most
        assert wake_at(story.task) == story.task.retry_at
        assert story.due == ()
        retried(story)
    story.replies(text="done at last")
    assert story.status is Status.SUCCEEDED
    assert story.task.attempt == 3
    assert summary(story.task).fault is None


def test_a_pause_is_not_over_before_its_time():
    """Row GC-11."""
    story = running().when(failing())
    story.when(Tick(), after=story.task.retry_at - story.now - 1).then()
    story.when(Tick(), after=1).then(e.Requeued(at=story.now))


def test_pauses_double_up_to_half_a_minute_and_differ_by_task_alone():
    """Row GC-11."""
    for attempt in range(1, 200):
        plain = min(30_000, 1_000 * 2 ** (attempt - 1))
        assert plain <= backoff("task_1", attempt) <= min(30_000, plain * 3 // 2)
        assert backoff("task_1", attempt) == backoff("task_1", attempt)
    assert len({backoff(f"task_{n}", 3) for n in range(20)}) > 10


def test_a_provider_that_says_when_to_return_is_believed():
    """Row OL-70."""
    story = running().when(failing(retry_after=HOUR))
    assert story.task.retry_at == NOW + HOUR


def test_a_task_that_failed_as_often_as_it_may_is_a_dead_letter():
    """Row GC-12."""
    story = running()
    for number in range(2):
        retried(story.when(failing(message=f"broken {number}")))
    story.when(failing(message="broken for good"))
    assert story.status is Status.DEAD_LETTER
    assert story.happened(e.DeadLettered) == [e.DeadLettered(reason="max_attempts")]
    assert story.fault == "E"
    story.refuses(Retry(by="ann"), "task_dead_letter")


def test_the_same_failure_three_times_is_a_poison_pill_even_when_more_tries_are_left():
    """Row GC-13."""
    story = running(limits=Limits(attempts=10))
    retried(story.when(failing(message="It BROKE" + "." * 600)))
    retried(story.when(failing(message="something else")))
    retried(story.when(failing(message=" it broke" + "." * 700)))
    story.when(failing(message="It broke" + "." * 600))
    assert story.happened(e.DeadLettered) == [e.DeadLettered(reason="poison_pill")]


def test_a_failure_that_cannot_pass_is_not_retried():
    """Row OL-70."""
    story = running().when(failing("no_key", retryable=False))
    assert (story.status, story.fault) == (Status.FAILED, "no_key")
    assert story.happened(e.AttemptFailed) == []


@pytest.mark.parametrize("limits", [Limits(), Limits(attempts=1)])
@pytest.mark.parametrize("retryable", [True, False])
def test_a_try_that_ends_leaves_no_call_running(limits: Limits, retryable: bool):
    story = running(limits=limits).replies(read("r"), write("w"), pay("p")).starts("r", "w")
    story.when(failing(retryable=retryable))
    assert isinstance(story.answer("w"), Unknown)
    if story.task.ended:
        assert story.task.calls == {}
        assert isinstance(story.answer("p"), Refused)
    else:
        assert story.task.calls[CallId("r")].state is CallState.ALLOWED
        assert story.task.calls[CallId("p")].state is CallState.ASKED


def test_a_person_may_have_a_failed_task_tried_again():
    story = running(deliver=("mail",)).replies(write("w")).runs("w")
    story.when(failing(retryable=False)).when(Retry(by="bob"))
    story.then(e.Retried(by="bob", at=NOW), e.Requeued(at=NOW))
    assert (story.status, story.task.faults, story.task.deliveries) == (Status.QUEUED, (), {})
    again(story).replies(text="done")
    assert story.status is Status.SUCCEEDED
    assert story.task.attempt == 2


def test_a_pause_ends_in_failure_when_the_budget_is_gone_and_every_call_is_answered():
    story = running(limits=Limits(seconds=10)).replies(pay("p"))
    story.when(failing(), after=11_000).when(Tick(), after=2_000)
    assert (story.status, story.fault) == (Status.FAILED, "budget_exceeded")
    assert isinstance(story.answer("p"), Refused)


# Losing the worker


def test_a_lost_worker_gives_its_task_back():
    """Row GC-17."""
    for status in (Status.CLAIMED, Status.RUNNING):
        story = in_status(status).when(Recover(reason="the daemon died"))
        assert story.events[-1] == e.Recovered(reason="the daemon died", at=NOW)
        assert (story.status, story.task.owner) == (Status.QUEUED, "")


def test_telling_twice_that_a_worker_is_lost_changes_nothing():
    """Row GC-17."""
    running().when(Recover(reason="lost")).when(Recover(reason="lost")).then()


def test_after_a_crash_reads_run_again():
    """Row GC-18."""
    story = running().replies(read("r"), call("t", "stamp", EffectClass.REPEATABLE))
    story.starts("r", "t").when(Recover(reason="crash"))
    assert [event.call_id for event in story.happened(e.CallCleared)] == ["r", "t"]
    assert [type(effect) for effect in again(story).due] == [RunTool, RunTool]
    assert story.runs("r").runs("t").due == (AskModel(),)


def test_a_write_cut_off_by_a_crash_is_reported_unknown_and_not_repeated():
    """Row GC-18. Row GC-19."""
    story = running().replies(write("w")).starts("w").when(Recover(reason="the daemon died"))
    answer = story.answer("w")
    assert isinstance(answer, Unknown)
    assert answer.reason.startswith("the daemon died while this ran")
    assert again(story).due == (AskModel(),)
    assert len(story.happened(e.CallStarted)) == 1


def test_a_write_cut_off_that_can_be_checked_is_checked_first():
    """Row GC-18."""
    story = running().replies(write("w", checkable=True)).starts("w").when(Recover(reason="crash"))
    story.then(e.CallDoubted(call_id=CallId("w")), e.Recovered(reason="crash", at=NOW))
    again(story)
    assert [type(effect) for effect in story.due] == [CheckCall]
    assert story.due[0].key == "check w"


def test_a_checked_call_that_did_not_happen_runs_then():
    story = running().replies(write("w", checkable=True)).starts("w").when(Recover(reason="crash"))
    again(story).when(ClearCall(call_id=CallId("w")))
    assert [effect.key for effect in story.due] == ["run w"]
    assert story.runs("w").due == (AskModel(),)


def test_a_checked_call_that_did_happen_is_settled_with_what_it_did():
    story = running().replies(write("w", checkable=True)).starts("w").when(Recover(reason="crash"))
    again(story).settles("w", Returned(text="written before the crash"))
    assert story.due == (AskModel(),)
    assert len(story.happened(e.CallStarted)) == 1


def test_a_task_that_kills_its_worker_again_and_again_is_stopped():
    """Row GC-17."""
    story = running().replies(read("r"), pay("p"))
    crashes = 0
    while not story.task.ended:
        story.starts("r").when(Recover(reason="crash"))
        crashes += 1
        if story.status is Status.QUEUED:
            again(story)
    assert (crashes, story.fault) == (20, "crash_loop")
    assert story.happened(e.DeadLettered) == [e.DeadLettered(reason="crash_loop")]
    assert story.task.calls == {}


def test_progress_between_crashes_is_not_a_crash_loop():
    story = running()
    for number in range(30):
        again(story.replies(read(f"r{number}", f"{number}")).runs(f"r{number}").when(
            Recover(reason="crash")
        ))  # fmt: skip
    assert story.status is Status.RUNNING


def test_a_loop_stopped_by_a_crash_goes_on_where_it_was():
    """Row GC-44."""
    story = running(limits=Limits(steps=5)).replies(read("r")).runs("r").replies(read("s", "b.txt"))
    again(story.when(Recover(reason="crash")))
    assert story.task.spent.steps == 2
    assert [effect.key for effect in story.due] == ["run s"]
    assert fold(story.history) == story.task


# Letting go


def test_a_worker_may_let_go_only_when_nothing_is_left_to_do():
    story = running().refuses(Release(), "still_busy")
    story.replies(write("w"), pay("p")).refuses(Release(), "still_busy")
    story.starts("w").refuses(Release(), "still_busy")
    story.settles("w").when(Release()).then(e.Released(at=NOW))
    assert (story.status, story.task.owner, story.due) == (Status.WAITING, "", ())


def test_waiting_takes_no_running_time():
    story = running().replies(pay("p")).when(Release(), after=3_000)
    again(story.when(Tick(), after=25 * HOUR))
    assert story.task.spent.milliseconds == 3_000
    story.when(failing(), after=500)
    assert story.task.spent.milliseconds == 3_500


# Cancelling


@pytest.mark.parametrize("status", LIVING)
def test_a_cancelled_task_has_answered_every_call_exactly_once(status: Status):
    """Row GC-16."""
    story = in_status(status).when(Cancel(by="ann", reason="changed my mind"))
    assert (story.status, story.task.calls, story.task.owner) == (Status.CANCELED, {}, "")
    assert story.events[-1] == e.Canceled(by="ann", at=story.now, reason="changed my mind")
    proposed = [j.call.id for reply in story.happened(e.Replied) for j in reply.judged]
    settled = [event.call_id for event in story.happened(e.CallSettled)]
    assert sorted(proposed) == sorted(settled)
    assert story.task.fault == Fault(code="aborted", message="canceled by ann: changed my mind")


def test_what_was_under_way_when_cancelled_is_unknown_and_the_rest_did_not_run():
    """Row GC-16."""
    story = busy().when(Cancel(by="ann"))
    unknown = {
        settled.call_id
        for settled in story.happened(e.CallSettled)
        if isinstance(settled.outcome, Unknown)
    }
    assert unknown == {"started", "doubted"}
    assert isinstance(story.answer("allowed"), Refused)
    story.refuses(Cancel(by="ann"), "task_canceled")


def test_a_cancelled_task_is_not_driven_any_further():
    """Row GC-16."""
    story = running().replies(read("r"), write("w")).starts("w").when(Cancel(by="ann"))
    assert story.due == ()
    late = SettleCall(call_id=CallId("w"), outcome=Returned(text="late"))
    story.refuses(late, "task_canceled")


# Children


def delegated() -> Story:
    story = running().replies(call("d", "delegate", EffectClass.READS))
    return story.suspends("d", Child(task=CHILD)).when(Release())


def test_a_child_answers_its_parent_exactly_once():
    """Row GC-29."""
    story = delegated().settles("d", Returned(text="the child's answer"))
    assert story.status is Status.QUEUED
    assert story.task.children == ()
    again_told = SettleCall(call_id=CallId("d"), outcome=Returned(text="once more"))
    story.refuses(again_told, "call_not_open")


def test_what_a_child_spent_counts_for_its_parent():
    spent = Spent(steps=9, tokens=50, cost=7, unpriced=1)
    outcome = Returned(text="done")
    story = delegated().when(SettleCall(call_id=CallId("d"), outcome=outcome, spent=spent))
    assert (story.task.spent.tokens, story.task.spent.cost) == (50, 7)
    assert (story.task.spent.steps, story.task.spent.unpriced) == (1, 1)


def test_the_end_of_a_parent_stops_its_children():
    """Row GC-29."""
    story = delegated().when(Cancel(by="ann"))
    assert story.due == (TellChild(child=CHILD),)
    assert story.due[0].key == "stop task_2"
    assert wake_at(story.task) == 0
    story.when(StopChild(child=CHILD)).then(e.ChildStopped(child=CHILD))
    assert (story.due, wake_at(story.task)) == ((), None)
    story.when(StopChild(child=CHILD)).then()


def test_a_child_is_named_in_the_summary_of_its_parent_and_the_other_way_round():
    """Row GC-29."""
    assert summary(delegated().task).children == (CHILD,)
    child = running(parent=Parent(task=TaskId("task_0"), call=CallId("d")))
    assert summary(child.task).parent == "task_0"


@pytest.mark.parametrize("retry", [False, True])
def test_a_child_brings_its_parent_one_result_however_often_it_is_retried(retry: bool):
    """Row GC-29."""
    story = running(parent=Parent(task=TaskId("task_0"), call=CallId("d")))
    story.when(failing(retryable=False))
    assert [effect.key for effect in story.due] == ["deliver parent"]
    if retry:  # before the parent was told: it is told the final result only
        again(story.when(Retry(by="ann"))).replies(text="done")
        assert [effect.key for effect in story.due] == ["deliver parent"]
    story.when(ConfirmDelivery(channel="parent"))
    if not retry:
        again(story.when(Retry(by="ann"))).replies(text="done")
    assert story.due == ()


# Timers


def test_a_timer_wakes_its_task_at_its_moment():
    story = running().replies(call("t", "sleep", EffectClass.READS))
    story.suspends("t", Timer(until=NOW + HOUR)).when(Release())
    assert wake_at(story.task) == NOW + HOUR
    story.when(Tick(), after=HOUR - 1).then()
    story.when(Tick(), after=1)
    assert story.answer("t") == Returned(text="the time has come")
    assert story.status is Status.QUEUED


# Delivering


def test_a_result_is_delivered_to_each_channel_under_one_id():
    story = running(deliver=("mail", "chat")).replies(text="done")
    assert story.due == (
        Deliver(channel="mail", id="task_1/1/mail"),
        Deliver(channel="chat", id="task_1/1/chat"),
    )
    story.when(ConfirmDelivery(channel="mail")).then(e.Delivered(channel="mail"))
    assert [effect.key for effect in story.due] == ["deliver chat"]
    story.refuses(ConfirmDelivery(channel="mail"), "delivery_not_due")


def test_a_failed_delivery_is_tried_again_later_under_the_same_id_and_given_up_at_last():
    story = running(deliver=("mail",)).replies(text="done")
    pauses: list[int] = []
    while story.task.deliveries:
        (effect,) = story.due
        assert isinstance(effect, Deliver)
        assert effect.id == "task_1/1/mail"
        story.when(ConfirmDelivery(channel="mail", error="no route"))
        delivery = story.task.deliveries.get("mail", Delivery(due=story.now))
        assert story.due == ()
        pauses.append(delivery.due - story.now)
        assert wake_at(story.task) == (delivery.due if pauses[-1] else None)
        story.now = delivery.due
    assert pauses == [4_000, 16_000, 64_000, 256_000, 1_024_000, 3_600_000, 3_600_000, 0]
    assert story.happened(e.DeliveryFailed)[-1].retry_at == 0


def test_a_second_end_is_a_second_delivery():
    story = running(deliver=("mail",)).when(failing(retryable=False))
    story.when(ConfirmDelivery(channel="mail")).when(Retry(by="ann"), Cancel(by="ann"))
    assert story.due == (Deliver(channel="mail", id="task_1/2/mail"),)


# Money set aside, and what becomes of it


@pytest.mark.parametrize(
    "ending", [Recover(reason="crash"), failing(), failing(retryable=False), Cancel(by="ann")]
)
def test_a_model_call_that_was_cut_off_is_charged_whole(ending: Recover | Cancel):
    story = (
        running()
        .when(ask(tokens=900, cost=50))
        .then(e.AskBegun(reserve=Reservation(tokens=900, cost=50)))
    )
    story.when(ending)
    assert (story.task.spent.tokens, story.task.spent.cost) == (900, 50)
    assert story.task.reserved is None


def test_asking_again_charges_the_call_that_was_cut_off_before():
    story = running(limits=Limits(tokens=1_500)).when(ask(tokens=900), ask(tokens=600))
    assert story.task.spent.tokens == 900
    story.when(ask(tokens=1))
    assert story.question == (
        "tokens: 1500 used and up to 1 needed, limit 1500. "
        "Raise the limit of this task to 3000 tokens?"
    )


@pytest.mark.parametrize("retryable", [True, False])
def test_a_call_that_the_provider_would_not_take_costs_nothing(retryable: bool):
    story = running().when(ask(tokens=900, cost=50))
    story.when(ReleaseAsk()).then(e.AskReleased())
    story.when(failing("rate_limited", retryable=retryable))
    assert (story.task.spent.tokens, story.task.spent.cost) == (0, 0)
