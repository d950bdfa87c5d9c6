"""The matrix has every fault at every point, finds cells by name, and its audit sees what it is there for."""

from __future__ import annotations

import pytest

from bench.support.audit import Account
from roost.client.effects import Answer, Ended
from roost.errors import Overloaded
from roost.wire.codec import to_json
from roost.wire.failpoints import Point
from roost.wire.messages.client import Accepted, Result
from roost.wire.messages.outcome import Outcome
from tests.faults.matrix import ENGINES, PARTS, Action, Cell, cells, pick
from tests.faults.run import Verdict
from tests.faults.table import table
from tests.faults.witness import Auditor, levels_of

SPEC = {"levels": 2, "width": 2, "bytes": 3}


def test_every_part_and_engine_is_killed_at_every_point() -> None:
    kills = {(cell.point, cell.victim) for cell in cells() if cell.action is Action.KILL}
    assert kills == {(point, victim) for point in Point for victim in (*PARTS, *ENGINES)}
    assert len(set(cells())) == len(list(cells()))


@pytest.mark.parametrize("action", [Action.STOP, Action.CUT])
def test_masters_are_stopped_and_cut_off_at_every_point_at_which_one_holds_a_job(action: Action) -> None:
    points = {cell.point for cell in cells() if cell.action is action}
    assert {Point.ACQUIRE_COMMITTED, Point.TASKS_BEGUN, Point.BEAT_RECEIVED, Point.COMPLETE_ANSWERED} <= points
    assert {cell.victim for cell in cells() if cell.action is action} == {"master"}


def test_cells_are_picked_by_pattern_and_by_a_piece_of_their_names() -> None:
    assert [str(cell) for cell in pick("complete.*/master.cut")] == [
        f"complete.{moment}/master.cut" for moment in ("received", "committed", "begun", "answered")
    ]
    assert {cell.point for cell in pick("knock")} == {Point.KNOCK_TAKEN, Point.KNOCK_SENT}
    assert pick("nothing like it") == []


def test_the_table_tells_what_held_failed_and_did_not_run() -> None:
    held, failed = pick("submit.begun/gateway.kill")[0], pick("submit.begun/lock.kill")[0]
    lines = table([Verdict(held, 3.4), Verdict(held, 5.6), Verdict(failed, 1.0, problem="lost")]).splitlines()
    assert len(lines) == 2
    assert lines[1].split()[:6] == ["submit.begun", "held", "6", "FAILED", ".", "."]


def witness() -> Auditor:
    witness = Auditor(["http://127.0.0.1:1"], "w")
    witness.asked = {"w-1": SPEC}
    return witness


def right_answer() -> Answer:
    return Answer(Outcome.DONE, tuple(to_json(level) for level in levels_of(SPEC)))


def test_i1_a_request_without_an_outcome_is_lost() -> None:
    a = witness()
    a._hear(1, Accepted("w-1"))
    assert (a.lost(), a.accepted_count()) == (["w-1"], 1)
    a._deliver(Ended("w-1", right_answer()))
    assert (a.lost(), a.doubled(), a.strayed()) == ([], [], [])


def test_i3_two_results_on_one_connection_or_two_ends_are_doubled() -> None:
    a = witness()
    a._hear(1, Result("w-1", Outcome.DONE, 0))
    a._hear(2, Result("w-1", Outcome.DONE, 0))
    assert a.doubled() == []
    a._hear(2, Result("w-1", Outcome.DONE, 0))
    assert a.doubled() == ["w-1"]
    b = witness()
    b._deliver(Ended("w-1", right_answer()))
    b._deliver(Ended("w-1", right_answer()))
    assert b.doubled() == ["w-1"]


def test_i2_a_foreign_request_another_result_and_a_refusal_are_strayed() -> None:
    a, b, c = witness(), witness(), witness()
    a._hear(1, Accepted("x-1"))
    b._deliver(Ended("w-1", Answer(Outcome.DONE, (b'["0"]', b'["1"]'))))
    c._deliver(Ended("w-1", Overloaded("no")))
    assert (a.strayed(), b.strayed()) == (["x-1"], ["w-1: done"])
    assert c.strayed() == ["w-1: Overloaded('no')"]


def test_a_cancelled_request_may_end_with_the_beginning_of_its_own_result_only() -> None:
    a, b, c = witness(), witness(), witness()
    begun = Answer(Outcome.CANCELLED, (to_json(levels_of(SPEC)[0]), b"[]"))
    a._deliver(Ended("w-1", begun))
    assert a.strayed() == ["w-1: cancelled"]
    b.cancelled.add("w-1")
    b._deliver(Ended("w-1", begun))
    assert b.strayed() == []
    c.cancelled.add("w-1")
    c._deliver(Ended("w-1", Answer(Outcome.CANCELLED, (b'["7"]',))))
    assert c.strayed() == ["w-1: cancelled"]


def move(token_before: int, token: int, state_before: str, state: str) -> dict[str, object]:
    return {"job": 1, "token_before": token_before, "token": token, "state_before": state_before, "state": state}


def test_i4_tokens_that_go_back_second_outcomes_and_foreign_parts_are_seen() -> None:
    good = [move(0, 1, "", "running"), move(1, 2, "running", "running"), move(2, 2, "running", "done")]
    job = {"id": 1, "state": "done", "token": 2}
    assert Account({"r": "acked"}, [job], good, ["1:2"]).violations() == []
    assert Account({"r": "acked"}, [job], good, ["1:2"]).takeovers() == 1
    assert Account({}, [job], [move(2, 1, "running", "running")], []).violations() == ["job 1: token 2 -> 1"]
    assert Account({}, [job], [*good, move(2, 2, "done", "failed")], []).violations() == ["job 1: done -> failed"]
    assert len(Account({}, [job], good, ["1:1"]).violations()) == 1


def test_what_is_not_acknowledged_or_not_over_is_not_settled() -> None:
    job = {"id": 1, "state": "running", "token": 2}
    account = Account({"a": "acked", "b": "waiting"}, [job], [], [])
    assert list(account.unsettled(["a", "b", "c"]).values()) == [
        "request b is waiting",
        "request c is not stored",
        "job 1 is running",
    ]


def test_a_name_tells_point_victim_and_action() -> None:
    assert str(Cell(Point.PART_BEGUN, "master", Action.STOP)) == "part.begun/master.stop"
