"""The pure parts of the load test: tallies add up, the course goes through its phases, and its verdict is strict."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from bench.load.swarm.counters import Counters
from bench.load.swarm.phases import Phase, Phases, Plan
from bench.load.swarm.swarm import EVERYBODY, Swarm

NO_LOSS = "no connection ended by itself (storm and outage aside)"
USERS = 300
PLAN = Plan(USERS, rate=100.0, hold_s=10.0, storm="one", has_outage=True, patience_s=20.0)
ALL_HERE = Counters(connected=Counter({"ws://one": 100, "ws://two": 200}), opened=USERS, submitted=7, answered=7)


def through(course: Phases, *seen: tuple[Counters, float]) -> list[Phase]:
    """The phases in which the course is after each."""
    phases = []
    for tally, now in seen:
        course.observe(tally, now)
        phases.append(course.phase)
    return phases


def finished(**different: object) -> Phases:
    """A whole test in which all went well, but for what is different in its last tally."""
    course = Phases(PLAN, processes=2, now=0.0)
    back = replace(ALL_HERE, opened=2 * USERS, storms=2)
    last = replace(ALL_HERE, opened=3 * USERS, storms=2, quiet=2, **different)  # type: ignore[arg-type]
    through(course, (ALL_HERE, 4.0), (ALL_HERE, 14.0), (back, 15.0), (last, 18.0), (last, 19.0))
    return course


def test_tallies_of_processes_add_up_and_survive_the_way_to_the_master() -> None:
    one = Counters(room=5, connected=Counter(a=2), lost=Counter({"hold 1006": 1}), submitted=3, answered=1)
    two = Counters(room=6, connected=Counter(a=1, b=4), failed=Counter(failed=1), submitted=2, answered=1)
    total = Counters.sum([Counters.from_message(one.as_message()), Counters.from_message(two.as_message())])
    assert total == Counters(
        room=11,
        connected=Counter(a=3, b=4),
        lost=Counter({"hold 1006": 1}),
        failed=Counter(failed=1),
        submitted=5,
        answered=2,
    )
    assert (total.connected_count, total.unanswered, total.fullest()) == (7, 2, "b")
    assert (total.lost_in(Phase.HOLD), total.lost_in(Phase.RAMP)) == (1, 0)


def test_a_test_goes_from_ramp_to_finish_when_everybody_is_where_they_should_be() -> None:
    course = Phases(PLAN, processes=2, now=0.0)
    some, none = replace(ALL_HERE, connected=Counter({"ws://one": 299})), replace(ALL_HERE, connected=Counter())
    stormed = replace(ALL_HERE, opened=USERS + 200, storms=2)
    anew = replace(stormed, opened=stormed.opened + USERS)
    assert through(
        course,
        (some, 3.0),
        (ALL_HERE, 4.0),
        (ALL_HERE, 13.9),
        (ALL_HERE, 14.0),
        (replace(ALL_HERE, storms=1), 14.5),
        (stormed, 15.0),
        (stormed, 15.5),
        (none, 16.0),
        (replace(anew, opened=anew.opened - 1), 17.0),
        (replace(anew, submitted=9), 18.0),
        (replace(anew, submitted=9, quiet=2), 19.0),
        (replace(anew, quiet=1), 19.5),
        (replace(anew, quiet=2), 20.0),
    ) == [
        Phase.RAMP,
        Phase.HOLD,
        Phase.HOLD,
        Phase.STORM,
        Phase.STORM,  # one process has not carried it out
        Phase.OUTAGE,
        Phase.OUTAGE,  # nobody has noticed it yet
        Phase.OUTAGE,
        Phase.OUTAGE,  # one of those who are there was not welcomed anew
        Phase.FINISH,
        Phase.FINISH,  # two jobs are not answered
        Phase.FINISH,  # in one process users may still submit
        Phase.OVER,
    ]
    assert all(course.goals().values())
    assert [(leg.phase, leg.took_s) for leg in course.legs] == [
        (Phase.RAMP, 4.0),
        (Phase.HOLD, 10.0),
        (Phase.STORM, 1.0),
        (Phase.OUTAGE, 3.0),
        (Phase.FINISH, 2.0),
    ]


def test_storm_and_outage_are_left_out_where_they_are_not_wanted() -> None:
    course = Phases(replace(PLAN, storm="none", has_outage=False), processes=1, now=0.0)
    assert through(course, (ALL_HERE, 4.0), (ALL_HERE, 14.0), (replace(ALL_HERE, quiet=1), 14.5)) == [
        Phase.HOLD,
        Phase.FINISH,
        Phase.OVER,
    ]
    assert len(course.goals()) == 4


@pytest.mark.parametrize(
    ("different", "missed"),
    [
        ({"lost": Counter({"hold 1006": 1})}, [NO_LOSS]),
        ({"lost": Counter({"storm 1012": 1})}, [NO_LOSS]),
        ({"lost": Counter({"outage 1006": USERS})}, []),
        ({"dismissed": 1}, [NO_LOSS]),
        ({"answered": 6, "failed": Counter(cancelled=1)}, ["every job was answered, and done"]),
    ],
)
def test_one_lost_connection_or_job_fails_the_test(different: dict[str, object], missed: list[str]) -> None:
    assert [goal for goal, is_met in finished(**different).goals().items() if not is_met] == missed


def test_one_user_away_for_a_moment_of_the_hold_fails_the_test() -> None:
    course = Phases(replace(PLAN, storm="none", has_outage=False), processes=1, now=0.0)
    short = replace(ALL_HERE, connected=Counter({"ws://one": USERS - 1}))
    through(course, (ALL_HERE, 4.0), (short, 8.0), (ALL_HERE, 14.0), (replace(ALL_HERE, quiet=1), 15.0))
    assert course.is_over
    assert [goal for goal, is_met in course.goals().items() if not is_met] == ["300 stayed for 10 s"]


def test_a_test_whose_users_do_not_all_arrive_ends_all_the_same_and_fails() -> None:
    course = Phases(PLAN, processes=2, now=0.0)
    few = Counters(connected=Counter({"ws://one": 10}), opened=10, submitted=1)
    assert through(course, (few, 22.9), (few, 23.1), (few, 43.0), (few, 43.2)) == [
        Phase.RAMP,
        Phase.FINISH,
        Phase.FINISH,
        Phase.OVER,
    ]
    assert [goal for goal, is_met in course.goals().items() if is_met] == [NO_LOSS]


class Guest:
    """A user that only counts how often its connection was cut."""

    def __init__(self, gateway: str) -> None:
        self.gateway, self.cuts = gateway, 0

    def cut(self) -> None:
        self.cuts += 1


def test_a_storm_cuts_the_users_of_one_gateway_or_all() -> None:
    swarm, here, there = Swarm(room=10), Guest("ws://one"), Guest("ws://two")
    swarm.guests |= {here, there}
    swarm.storm("ws://one")
    assert (here.cuts, there.cuts) == (1, 0)
    swarm.storm(EVERYBODY)
    assert (here.cuts, there.cuts) == (2, 1)
    assert swarm.tally.storms == 2


def test_requests_that_a_storm_or_an_outage_touched_are_called_so() -> None:
    swarm = Swarm(room=10)
    swarm.enter(Phase.HOLD)
    assert swarm.label("job", Phase.RAMP) == "job"
    swarm.enter(Phase.STORM)
    assert swarm.label("job", Phase.HOLD) == "job: storm"
    swarm.enter(Phase.FINISH)
    assert swarm.label("job", Phase.OUTAGE) == "job: outage"


def test_no_jobs_are_wanted_when_the_last_are_to_be_answered() -> None:
    swarm = Swarm(room=10)
    for phase in Phase:
        swarm.enter(phase)
        assert swarm.wants_jobs == (phase not in (Phase.FINISH, Phase.OVER))
        assert swarm.tally.quiet == (not swarm.wants_jobs)
