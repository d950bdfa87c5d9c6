from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from roost.gateway.connections.wheel import SIZE, TICK_S, Wheel, ticks

FDS = st.integers(0, 2000)


class WheelModel(RuleBasedStateMachine):
    """Compares the wheel with a dict from descriptor to the tick at which it must fire."""

    def __init__(self) -> None:
        super().__init__()
        self.wheel = Wheel()
        self.due: dict[int, int] = {}

    @rule(fd=FDS, ahead=st.integers(-5, SIZE + 200))
    def put(self, fd: int, ahead: int) -> None:
        self.wheel.put(fd, max(self.wheel.now + ahead, 0))
        self.due[fd] = self.wheel.now + min(max(ahead, 1), SIZE - 1)

    @rule(fd=FDS, ahead=st.integers(1, SIZE - 1))
    def advance(self, fd: int, ahead: int) -> None:
        self.wheel.advance(fd, self.wheel.now + ahead)
        self.due[fd] = min(self.due.get(fd, self.wheel.now + ahead), self.wheel.now + ahead)

    @rule(fds=st.lists(FDS, unique=True), ahead=st.integers(-5, SIZE + 200))
    def put_all(self, fds: list[int], ahead: int) -> None:
        known = [fd for fd in fds if fd < len(self.wheel.due) and fd not in self.due]
        self.wheel.put_all(known, ahead)
        self.due |= dict.fromkeys(known, self.wheel.now + min(max(ahead, 1), SIZE - 1))

    @rule(fd=FDS)
    def remove(self, fd: int) -> None:
        self.wheel.remove(fd)
        self.due.pop(fd, None)

    @rule()
    def trim(self) -> None:
        self.wheel.trim(max(self.due, default=-1) + 1)

    @rule(count=st.integers(1, 300))
    def turn(self, count: int) -> None:
        for _ in range(count):
            fired = self.wheel.turn()
            expected = {fd for fd, tick in self.due.items() if tick == self.wheel.now}
            assert sorted(fired) == sorted(expected), "each due descriptor fires once, nobody else does"
            for fd in fired:
                del self.due[fd]


TestWheelModel = WheelModel.TestCase


def test_a_deadline_that_is_moved_fires_once_at_its_new_place() -> None:
    wheel = Wheel()
    wheel.put(5, 10)
    wheel.put(5, 4)
    wheel.put(5, 7)
    fired = [(fd, wheel.now) for _ in range(20) for fd in wheel.turn()]
    assert fired == [(5, 7)]


def test_a_deadline_beyond_the_horizon_fires_at_the_horizon() -> None:
    wheel = Wheel()
    wheel.put(1, 10**6)
    while not wheel.turn():
        assert wheel.now < SIZE + 1
    assert wheel.now == SIZE


def test_a_tick_costs_nothing_for_connections_that_are_not_due() -> None:
    wheel = Wheel()
    for fd in range(15_000):
        wheel.put(fd, wheel.now + SIZE - 1)
    assert all(wheel.turn() == [] for _ in range(SIZE - 2))


@pytest.mark.parametrize(
    ("seconds", "count"), [(0, 0), (0.001, 1), (TICK_S, 1), (TICK_S + 0.01, 2), (25, 100), (1800, 7200)]
)
def test_seconds_become_ticks_rounded_up(seconds: float, count: int) -> None:
    assert ticks(seconds) == count
