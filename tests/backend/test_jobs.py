"""The transition tables: every pair of state and event, and random walks that end."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.jobs import (
    EVENT_OF_OUTCOME,
    JOB_TABLE,
    LIVE_JOBS,
    REQUEST_TABLE,
    TASK_TABLE,
    JobEvent,
    JobState,
    RequestEvent,
    RequestRow,
    TaskEvent,
    TaskState,
    request_ending,
    step,
)
from roost.wire.errors import Misuse
from roost.wire.messages.outcome import Ending, Outcome

Table = Mapping[Any, Mapping[Any, Any]]
TABLES: list[tuple[Table, type[StrEnum], type[StrEnum]]] = [
    (JOB_TABLE, JobState, JobEvent),
    (REQUEST_TABLE, RequestRow, RequestEvent),
    (TASK_TABLE, TaskState, TaskEvent),
]


@pytest.mark.parametrize(("table", "states", "events"), TABLES)
def test_every_pair_is_a_step_or_an_error(table: Table, states: type[StrEnum], events: type[StrEnum]) -> None:
    assert set(table) == set(states)
    for state, event in product(states, events):
        if event in table[state]:
            assert step(table, state, event) in states
        else:
            with pytest.raises(Misuse, match=str(state)):
                step(table, state, event)


@pytest.mark.parametrize(("table", "states", "events"), TABLES)
def test_every_state_can_be_reached_and_can_end(table: Table, states: type[StrEnum], events: type[StrEnum]) -> None:
    first = next(iter(states))
    reached, todo = {first}, [first]
    while todo:
        for after in table[todo.pop()].values():
            if after not in reached:
                reached.add(after)
                todo.append(after)
    assert reached == set(states)
    ends = {state for state in states if not table[state]}
    for state in states:
        assert ends & _reachable(table, state)


def _reachable(table: Table, start: Any) -> set[Any]:
    found, todo = {start}, [start]
    while todo:
        for after in table[todo.pop()].values():
            if after not in found:
                found.add(after)
                todo.append(after)
    return found


@given(st.lists(st.sampled_from(JobEvent), max_size=30))
def test_a_job_that_has_ended_stays_as_it_is(events: list[JobEvent]) -> None:
    state, ended = JobState.WAITING, None
    for event in events:
        if event in JOB_TABLE[state]:
            assert ended is None
            state = step(JOB_TABLE, state, event)
        if state not in LIVE_JOBS:
            ended = ended or state
            assert state is ended


@given(st.lists(st.sampled_from(RequestEvent), max_size=10))
def test_an_acknowledged_request_stays_acknowledged(events: list[RequestEvent]) -> None:
    state = RequestRow.EXPECTED
    for event in events:
        if event in REQUEST_TABLE[state]:
            assert state is not RequestRow.ACKED
            state = step(REQUEST_TABLE, state, event)


def test_each_outcome_has_its_event_and_state() -> None:
    assert set(EVENT_OF_OUTCOME) == set(Outcome)
    for outcome, event in EVENT_OF_OUTCOME.items():
        assert step(JOB_TABLE, JobState.RUNNING, event).value == outcome.value


@pytest.mark.parametrize("row", RequestRow)
def test_readiness_is_derived_from_the_row_and_the_job(row: RequestRow) -> None:
    done = Ending(Outcome.DONE)
    expected = {RequestRow.WAITING: (None, Outcome.DONE), RequestRow.LEFT: (Outcome.CANCELLED,) * 2}
    expected[RequestRow.REFUSED] = (Outcome.FAILED,) * 2
    running, ended = (request_ending(row, job) for job in (None, done))
    outcomes = tuple(ending.outcome if ending else None for ending in (running, ended))
    assert outcomes == expected.get(row, (None, None))
