from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from roost.gateway.connections.slots import FREE, HANDSHAKE, MAX_HOLDS, OPEN, ConnectionSlots


def test_a_new_tenant_has_a_generation_of_its_own() -> None:
    slots = ConnectionSlots()
    first = slots.allocate(7, tick=1)
    slots.state[7] = OPEN
    assert slots.is_open(7, first)
    slots.free(7)
    second = slots.allocate(7, tick=2)
    slots.state[7] = OPEN
    assert second != first
    assert not slots.is_open(7, first)
    assert slots.is_open(7, second)


def test_a_connection_is_open_only_after_its_handshake() -> None:
    slots = ConnectionSlots()
    generation = slots.allocate(3, tick=1)
    assert slots.state[3] == HANDSHAKE
    assert not slots.is_open(3, generation)


@pytest.mark.parametrize(("fd", "generation"), [(-1, 1), (0, 0), (10**9, 1), (5, 0), (5, 2**40)])
def test_numbers_that_never_named_a_connection_are_stale(fd: int, generation: int) -> None:
    slots = ConnectionSlots()
    slots.allocate(5, tick=1)
    slots.state[5] = OPEN
    assert not slots.is_open(fd, generation)


def test_nothing_of_the_last_tenant_is_left_for_the_next() -> None:
    slots = ConnectionSlots()
    slots.allocate(4, tick=9)
    slots.flags[4], slots.idle_holds[4], slots.pinged[4] = 3, 2, 8
    slots.free(4)
    slots.allocate(4, tick=11)
    assert (slots.flags[4], slots.idle_holds[4], slots.pinged[4]) == (0, 0, 0)
    assert (slots.last_read[4], slots.last_message[4]) == (11, 11)


def test_the_generation_wraps_without_ever_being_zero() -> None:
    slots = ConnectionSlots()
    slots.allocate(1, tick=1)
    slots.free(1)
    slots.generation[1] = 0xFFFFFFFF
    assert slots.allocate(1, tick=1) == 1


def test_holds_never_go_below_zero_nor_above_their_cell() -> None:
    slots = ConnectionSlots()
    slots.allocate(2, tick=1)
    slots.hold(2, -1)
    assert slots.idle_holds[2] == 0
    for _ in range(MAX_HOLDS + 5):
        slots.hold(2, 1)
    assert slots.idle_holds[2] == MAX_HOLDS
    slots.hold(2, -1)
    assert slots.idle_holds[2] == MAX_HOLDS, "a count that overflowed is never trusted again"


def test_memory_is_given_back_when_a_crowd_has_left_and_old_handles_stay_stale() -> None:
    slots = ConnectionSlots()
    handles = [(fd, slots.allocate(fd, tick=1)) for fd in range(10_000)]
    assert not slots.trim()
    for fd, _ in handles[5:]:
        slots.free(fd)
    assert slots.trim()
    assert len(slots) == 1024
    for fd, _ in handles[5:]:
        slots.allocate(fd, tick=2)
        slots.state[fd] = OPEN
    assert not any(slots.is_open(fd, generation) for fd, generation in handles[5:])


class Table(RuleBasedStateMachine):
    """Compares the table with a dict of the live handles."""

    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.slots = ConnectionSlots()
        self.alive: dict[int, int] = {}
        self.ever: list[tuple[int, int]] = []

    @rule(target=handles, fd=st.integers(0, 3000))
    def take(self, fd: int) -> tuple[int, int]:
        if fd not in self.alive:
            self.alive[fd] = self.slots.allocate(fd, tick=1)
            self.slots.state[fd] = OPEN
            self.ever.append((fd, self.alive[fd]))
        return fd, self.alive[fd]

    @rule(handle=consumes(handles))
    def free(self, handle: tuple[int, int]) -> None:
        fd, generation = handle
        if self.alive.get(fd) == generation:
            self.slots.free(fd)
            del self.alive[fd]

    @rule()
    def trim(self) -> None:
        size = len(self.slots)
        was_trimmed = self.slots.trim()
        assert was_trimmed == (len(self.slots) < size)
        assert len(self.slots) > max(self.alive, default=-1), "nobody who is there is cut off"

    @invariant()
    def exactly_the_living_are_open(self) -> None:
        for fd, generation in self.ever:
            assert self.slots.is_open(fd, generation) == (self.alive.get(fd) == generation)
        assert self.slots.used == len(self.alive)
        assert sum(state != FREE for state in self.slots.state) == len(self.alive)


TestTable = Table.TestCase
