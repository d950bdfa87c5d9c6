"""Shares of a host add up: leases of many workers over one cache, in any order of events, with any delays."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from roost.backend.kinds.crawl.politeness.host_board import read_board
from roost.backend.kinds.crawl.politeness.host_lease import (
    KEPT_S,
    LEASE_S,
    RENEW_S,
    SURE_S,
    Answer,
    Swap,
)
from tests.kinds.crawl.politeness.leases import TICK_S, Value, Worker, new_lease

pytestmark = pytest.mark.slow


class Leases(RuleBasedStateMachine):
    """Workers come, ask, renew, stand still, die; commands to the cache arrive late, in any order, or unanswered."""

    @initialize(whole=st.sampled_from([1, 2, 3, 8]), data=st.integers(2, 5))
    def begin(self, whole: int, data: int) -> None:
        self.whole, self.time, self.value = whole, 0.0, Value()
        self.workers: list[Worker] = []
        self.late: list[tuple[Worker, Swap]] = []
        for number in range(data):
            self._come(0.9 + 0.05 * (number % 5))

    def _come(self, rate: float) -> None:
        number = len(self.workers)
        self.workers.append(Worker(new_lease(b"%d" % number, self.whole), 1000.0 * number, rate, self.whole))
        self.workers[-1].wanted = self.whole

    def _one(self, number: int) -> Worker | None:
        running = [worker for worker in self.workers if worker.is_running]
        return running[number % len(running)] if running else None

    @precondition(lambda self: len(self.workers) < 12)
    @rule(rate=st.floats(0.9, 1.1))
    def come(self, rate: float) -> None:
        self._come(rate)

    @rule(passes_s=st.sampled_from([0.01, 0.3, 1.0, RENEW_S, LEASE_S - 0.1, LEASE_S, SURE_S, KEPT_S]))
    def wait(self, passes_s: float) -> None:
        self.unwind()
        self.time += passes_s

    @rule()
    def unwind(self) -> None:
        """Requests that were cut off are over. Until then they still count in renewals."""
        for worker in self.workers:
            if worker.is_running:
                worker.settle(self.time)

    @rule(number=st.integers(0, 20), wanted=st.integers(0, 10))
    def want(self, number: int, wanted: int) -> None:
        if worker := self._one(number):
            worker.wanted = wanted

    @rule(number=st.integers(0, 20))
    def send(self, number: int) -> None:
        worker = self._one(number)
        if worker and worker.sent is None:
            self.late.append((worker, worker.propose(self.time)))

    @rule(number=st.integers(0, 20))
    def renew_at_once(self, number: int) -> None:
        worker = self._one(number)
        while worker and worker.sent is None:
            if worker.hear(self.value.swap(worker.propose(self.time), self.time), self.time) is Answer.MADE:
                break

    @rule(number=st.integers(0, 100))
    def arrive(self, number: int) -> None:
        if self.late:
            worker, swap = self.late.pop(number % len(self.late))
            found = self.value.swap(swap, self.time)
            if worker.sent is swap:
                worker.answers.append(found)

    @rule(number=st.integers(0, 20))
    def hear(self, number: int) -> None:
        worker = self._one(number)
        if worker and worker.sent is not None and worker.answers:
            worker.hear(worker.answers.pop(), self.time)

    @rule(number=st.integers(0, 20))
    def hear_nothing(self, number: int) -> None:
        """A command has no answer in time; whether it is made, and when, stays open. (Not for so long that P32 counts:
        who does not reach a cache that others reach is beyond what the rule covers.)"""
        worker = self._one(number)
        if worker and worker.sent is not None:
            now, until = worker.now(self.time), worker.lease.until
            if until <= now or now + RENEW_S < until:
                if worker.hear(None, self.time) is Answer.NONE:
                    worker.lease.unanswered(worker.part, False, now)
                worker.settle(self.time)

    @rule(number=st.integers(0, 20), count=st.sampled_from([1, 8]))
    def ask(self, number: int, count: int) -> None:
        if worker := self._one(number):
            while count and worker.now(self.time) < worker.lease.until and worker.busy < worker.lease.limit:
                worker.busy, count = worker.busy + 1, count - 1

    @rule(number=st.integers(0, 20), count=st.integers(1, 8))
    def end(self, number: int, count: int) -> None:
        if worker := self._one(number):
            worker.busy = max(0, worker.busy - count)

    @rule(number=st.integers(0, 20))
    def stand_still(self, number: int) -> None:
        if worker := self._one(number):
            worker.is_running = False

    @rule(number=st.integers(0, 20))
    def go_on(self, number: int) -> None:
        still = [worker for worker in self.workers if not worker.is_running and not worker.is_dead]
        if still:
            worker = still[number % len(still)]
            worker.is_running = True

    @rule(number=st.integers(0, 20))
    def die(self, number: int) -> None:
        if worker := self._one(number):
            worker.is_running, worker.is_dead = False, True

    @invariant()
    def all_together_have_at_most_the_whole_in_flight(self) -> None:
        if hasattr(self, "workers"):
            assert sum(worker.in_flight(self.time) for worker in self.workers) <= self.whole

    @invariant()
    def claims_add_up_to_at_most_the_whole(self) -> None:
        if hasattr(self, "workers"):
            assert sum(claim.held for claim in read_board(self.value.data).claims) <= self.whole

    def teardown(self) -> None:
        """Whatever happened: when only one is left it gets everything, within a bounded time."""
        if not hasattr(self, "workers"):
            return
        for worker in self.workers:
            worker.is_running = False
        self._come(1.0)
        last = self.workers[-1]
        last.wanted = self.whole
        for _ in range(int((SURE_S / 0.9 + 2 * RENEW_S) / TICK_S)):
            self.time += TICK_S
            while last.hear(self.value.swap(last.propose(self.time), self.time), self.time) is Answer.AGAIN:
                pass
        assert last.lease.limit == self.whole


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=150, stateful_step_count=80, deadline=None)
