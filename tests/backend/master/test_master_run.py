"""One job at its master, pure: each task folded once, never too many out, nothing given out without trust."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.support.steps_kind import StepsPlan, StepsSpec
from roost.backend.kinds.api import PlannedTask
from roost.backend.master.job_run import MOST_OUT, OVERDUE_FACTOR, JobRun
from roost.wire.messages.lock import Grant
from roost.wire.messages.outcome import Outcome
from roost.wire.messages.work import Task, TaskResult

LEASE_S, TRUST_S = 6.0, 5.0
DEADLINE_S = 5.0


class CountingPlan(StepsPlan):
    """Counts how often each task came home."""

    def __init__(self, spec: StepsSpec) -> None:
        super().__init__(spec)
        self.home: Counter[int] = Counter()

    def fold(self, number: int, data: bytes) -> None:
        super().fold(number, data)
        self.home[number] += 1

    def give_up(self, number: int, reason: str) -> None:
        super().give_up(number, reason)
        self.home[number] += 1

    def next_tasks(self, room: int) -> list[PlannedTask]:
        assert room > 0
        return super().next_tasks(room)


def make(levels: int = 1, width: int = 1, behave: str = "", now: float = 100.0) -> tuple[JobRun, CountingPlan]:
    plan = CountingPlan(StepsSpec(levels=levels, width=width, behave=behave))
    grant = Grant(7, 3, "steps", b"spec", LEASE_S, 0, 3600.0, [])
    return JobRun(grant, plan, "reply.m1", now, now), plan


def result(task: Task, **more: object) -> TaskResult:
    return TaskResult(task.job, task.token, task.task, b"done", **more)  # type: ignore[arg-type]


def test_p13_trust_runs_from_before_the_first_send_and_ends_before_the_lease() -> None:
    run, _ = make(now=100.0)
    assert run.is_trusted(100.0 + TRUST_S - 0.001)
    assert not run.is_trusted(100.0 + TRUST_S)
    run.renewed(110.0)
    run.renewed(103.0)
    assert run.is_trusted(110.0 + TRUST_S - 0.001)


def test_p20_at_most_so_many_tasks_are_out() -> None:
    run, _ = make(width=3 * MOST_OUT)
    first = run.release(100.0)
    assert len(first) == MOST_OUT
    assert run.release(100.0) == []
    run.take(result(first[0]), 100.0)
    assert len(run.release(100.0)) == 1


def test_p22_a_task_without_an_answer_is_given_again_and_then_later_and_later() -> None:
    run, plan = make()
    (task,) = run.release(100.0)
    due = 100.0
    for tries in range(4):
        due += DEADLINE_S * OVERDUE_FACTOR * 2**tries
        assert run.next_due() == due
        run.look(due - 0.001)
        assert run.release(due - 0.001) == []
        run.look(due)
        assert run.release(due) == [task]
    run.take(result(task), due)
    run.take(result(task), due)
    assert plan.home == {0: 1}
    assert run.outcome(due) is Outcome.DONE


def test_p20_a_task_held_back_is_given_again_at_its_time_as_often_as_it_takes() -> None:
    run, plan = make()
    (task,) = run.release(100.0)
    for now in (101.0, 102.0, 103.0):
        run.take(result(task, later_s=1.0), now - 1.0)
        run.look(now - 0.1)
        assert run.release(now - 0.1) == []
        run.look(now)
        assert run.release(now) == [task]
    run.take(result(task, error="worker error"), 103.0)
    assert plan.home == {0: 1}


def test_a_task_that_could_not_be_published_is_given_again_soon() -> None:
    run, _ = make()
    (task,) = run.release(100.0)
    run.unsent(task, 101.0)
    assert run.next_due() == 101.0
    run.look(101.0)
    assert run.release(101.0) == [task]


def test_answers_to_others_and_to_tasks_never_given_out_change_nothing() -> None:
    run, plan = make(width=2)
    run.release(100.0)
    for stray in (TaskResult(7, 2, 0, b"old token"), TaskResult(7, 4, 0, b"new token"), TaskResult(7, 3, 99, b"x")):
        run.take(stray, 100.0)
    assert run.out_count == 2
    assert plan.home == {}


def test_a_result_that_cannot_be_read_is_given_up() -> None:
    run, _ = make()
    (task,) = run.release(100.0)
    run.take(TaskResult(7, 3, task.task, b""), 100.0)
    assert run.outcome(100.0) is Outcome.DONE
    assert list(run.plan.parts()) == [b'["given up: unreadable result: empty"]']


@pytest.mark.parametrize(
    ("behave", "cancelled", "now", "outcome"),
    [
        ("", False, 100.0, Outcome.DONE),
        ("fail", False, 100.0, Outcome.FAILED),
        ("", False, 99_999.0, Outcome.DONE),
        ("", True, 100.0, Outcome.CANCELLED),
    ],
)
def test_how_a_job_ends(behave: str, cancelled: bool, now: float, outcome: Outcome) -> None:
    run, _ = make(behave=behave)
    assert run.outcome(100.0) is None
    assert run.outcome(99_999.0) is Outcome.EXPIRED
    (task,) = run.release(100.0)
    run.take(result(task), 100.0)
    run.cancelled = cancelled
    assert run.outcome(now) is outcome


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["result", "error", "rubbish", "repeat", "later", "unsent", "wait", "renew", "stale"]),
        st.integers(0, 1000),
        st.sampled_from([0.1, 1.0, 4.0, 60.0]),
    ),
    max_size=80,
)


@given(steps=STEPS, levels=st.integers(1, 3), width=st.sampled_from([1, 3, 70]))
def test_in_any_order_of_answers_each_task_is_folded_once(
    steps: list[tuple[str, int, float]], levels: int, width: int
) -> None:
    now, (run, plan) = 100.0, make(levels, width)
    given_out: list[Task] = []

    def turn() -> None:
        """What the driver does at each look."""
        run.look(now)
        if run.is_trusted(now):
            given_out.extend(run.release(now))
        assert run.out_count <= MOST_OUT
        assert max(plan.home.values(), default=0) <= 1

    turn()
    for what, chosen, seconds in steps:
        task = given_out[chosen % len(given_out)]
        match what:
            case "result" | "repeat":
                for _ in range(1 + (what == "repeat")):
                    run.take(result(task), now)
            case "error":
                run.take(result(task, error="worker error"), now)
            case "rubbish":
                run.take(TaskResult(task.job, task.token, task.task, b""), now)
            case "later":
                run.take(result(task, later_s=seconds), now)
            case "stale":
                run.take(TaskResult(task.job, task.token - 1, task.task, b"stale"), now)
            case "unsent":
                last = given_out[-1]
                run.unsent(last, now + 1.0)
            case "wait":
                now += seconds
            case "renew":
                run.renewed(now)
        turn()
    for _ in range(1000):
        if run.outcome(100.0) is not None:
            break
        run.renewed(now)
        turn()
        for task in given_out[-MOST_OUT:]:
            run.take(result(task), now)
        now = max(now, min(run.next_due(), now + 1e6))
    assert run.outcome(100.0) is Outcome.DONE
    assert plan.home == dict.fromkeys(range(levels * width), 1)


def test_a_task_whose_publishing_fails_after_it_was_answered_is_given_out_once() -> None:
    """A confirm may be lost with the task delivered, and "later" said to it, before the master hears of the former."""
    run, _ = make()
    (task,) = run.release(100.0)
    run.take(result(task, later_s=0.1), 100.0)
    run.look(101.0)  # it waits for its turn, as while the lease is not trusted
    run.unsent(task, 101.0)
    run.look(101.0)
    assert len(run.release(101.0)) == 1


def test_p21_what_no_worker_survived_is_given_out_alone_once() -> None:
    run, plan = make(now=0.0)
    (task,) = run.release(0.0)
    died = result(task, error="no worker survived it", died=True)
    run.take(died, 1.0)
    run.look(1.0)
    (again,) = run.release(1.0)
    assert (task.alone, again.alone) == (False, True)
    run.take(died, 2.0)
    run.look(2.0)
    assert run.release(2.0) == [], "a dead letter that comes twice is one death"
    run.take(result(again, error="no worker survived it"), 3.0)
    assert (plan.home, run.outcome(3.0)) == (Counter({0: 1}), Outcome.DONE)
