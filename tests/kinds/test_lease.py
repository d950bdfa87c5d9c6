"""Shares of a host add up: leases of many workers over one cache, in any order of events, with any delays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend.kinds.crawl.board import Board, Claim, Hold, later, read_board, share_out
from backend.kinds.crawl.lease import KEPT_S, LEASE_S, RENEW_S, SURE_S, Answer, Contact, Lease, Swap, Use
from wire.codec import pack

WALL = 1_750_000_000.0
TICK_S = 0.25


@dataclass
class Value:
    """The one value in the cache, and when it dies."""

    data: bytes | None = None
    dies_at: float = 0.0

    def swap(self, swap: Swap, now: float) -> bytes | None:
        if now >= self.dies_at:
            self.data = None
        if self.data == swap.old:
            self.data, self.dies_at = swap.new, now + swap.ttl_s
        return self.data


@dataclass
class Worker:
    """One worker. `sent` is the swap it waits for, `answer` what the cache said to that, once it was made."""

    lease: Lease
    started_at: float
    rate: float = 1.0
    part: int = 100
    busy: int = 0
    wanted: int = 1
    is_running: bool = True
    is_dead: bool = False
    sent: Swap | None = None
    answers: list[bytes | None] = field(default_factory=list)

    def now(self, time: float) -> float:
        """By its own clock."""
        return self.started_at + time * self.rate

    def in_flight(self, time: float) -> int:
        """What it has a right to have in flight, or had when it was stopped."""
        return min(self.busy, self.lease.most) if self.now(time) < self.lease.until else 0

    def settle(self, time: float) -> None:
        """What timers do: cut off what the lease does not cover."""
        covered = self.lease.most if self.now(time) < self.lease.until else 0
        self.busy = min(self.busy, covered)

    def propose(self, time: float) -> Swap:
        """The next swap. Requests that the end of the lease has just cut off still count as in flight here."""
        use = Use(self.busy, max(self.busy, min(self.wanted, self.lease.whole)), self.part)
        self.sent = self.lease.propose(use, self.now(time), WALL + time)
        self.answers = []
        return self.sent

    def hear(self, found: bytes | None, time: float) -> Answer:
        self.sent = None
        answer = self.lease.answered(found, self.now(time))
        self.settle(time)
        return answer


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
        self.workers.append(Worker(Lease(b"%d" % number, self.whole), 1000.0 * number, rate, self.whole))
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


class Crowd:
    """Workers that renew when it is time and always use all they may; each request takes `TICK_S`."""

    def __init__(self, count: int, whole: int = 8, part: int = 100) -> None:
        self.time, self.value, self.whole = 0.0, Value(), whole
        self.workers = [Worker(Lease(b"%d" % number, whole), 0.0, part=part, wanted=whole) for number in range(count)]
        self.swaps = 0

    def tick(self) -> list[int]:
        """A quarter of a second later; requests in flight then, by worker."""
        self.time += TICK_S
        for worker in (worker for worker in self.workers if worker.is_running):
            worker.busy = 0
            if worker.lease.is_due(self.time):
                self.renew(worker)
            if self.time < worker.lease.until:
                worker.busy = worker.lease.limit
        counts = [worker.in_flight(self.time) for worker in self.workers]
        assert sum(counts) <= self.whole
        return counts

    def renew(self, worker: Worker) -> None:
        answer = Answer.AGAIN
        while answer is Answer.AGAIN:
            self.swaps += 1
            answer = worker.hear(self.value.swap(worker.propose(self.time), self.time), self.time)

    def run(self, seconds: float) -> list[list[int]]:
        return [self.tick() for _ in range(int(seconds / TICK_S))]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_workers_come_to_equal_parts_of_the_whole_and_use_all_of_it(count: int) -> None:
    crowd = Crowd(count)
    crowd.run(3 * RENEW_S)
    for counts in crowd.run(2 * RENEW_S):
        assert sum(counts) == 8
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("count", [9, 12, 20, 40])
def test_of_more_workers_than_places_each_has_a_turn_within_a_bounded_time(count: int) -> None:
    crowd = Crowd(count)
    crowd.run(2 * RENEW_S)
    rounds = -(-count // 8)
    for _ in range(4):
        served: Counter[int] = Counter()
        for counts in crowd.run((rounds + 2) * (RENEW_S + 1.0)):
            served.update({number: asked for number, asked in enumerate(counts) if asked})
        assert set(served) == set(range(count))
        assert max(served.values()) <= 4 * min(served.values())


def test_a_worker_that_was_killed_leaves_its_places_after_a_bounded_time_and_not_before() -> None:
    crowd = Crowd(2)
    crowd.run(5 * RENEW_S)
    crowd.workers[0].is_running = False
    last_of_it = crowd.workers[0].lease.until
    while crowd.tick()[1] <= 4:
        assert crowd.time < last_of_it + SURE_S + RENEW_S
    assert crowd.time >= last_of_it
    crowd.run(RENEW_S)
    assert crowd.tick()[1] == 8


def test_a_worker_that_leaves_gives_its_places_back_at_once() -> None:
    crowd = Crowd(2)
    crowd.run(3 * RENEW_S)
    leaving, staying = crowd.workers
    leaving.busy = leaving.wanted = 0
    crowd.renew(leaving)
    assert leaving.lease.is_over()
    leaving.is_running = False
    crowd.run(RENEW_S)
    assert staying.busy == 8


def test_who_knows_of_others_by_discovery_leaves_room_for_them_when_it_comes() -> None:
    crowd = Crowd(3, part=3)
    first = crowd.tick()
    assert first == [3, 3, 2], "nobody waits"
    alone = Crowd(1, part=3)
    alone.run(2 * RENEW_S)
    assert alone.tick() == [8], "nobody else has come"


def test_a_lease_costs_a_swap_for_each_renewal() -> None:
    crowd = Crowd(1)
    crowd.run(30 * RENEW_S)
    assert crowd.swaps <= 31


def test_a_swap_without_an_answer_does_not_count_and_one_that_shrinks_does() -> None:
    value, worker = Value(), Worker(Lease(b"a", 8), 0.0, wanted=4)
    worker.hear(value.swap(worker.propose(0.0), 0.0), 0.0)
    assert worker.lease.limit == 4
    worker.wanted = 8
    value.swap(worker.propose(3.0), 3.0)
    assert worker.lease.limit == 4, "growing counts when the cache has said so"
    worker.wanted = 2
    worker.propose(3.5)
    assert worker.lease.limit == 2, "shrinking counts before the cache knows"


def test_a_lease_counts_from_when_its_swap_was_sent() -> None:
    value = Value()
    slow, other = (Worker(Lease(name, 8), 0.0, wanted=8) for name in (b"slow", b"other"))
    found = value.swap(slow.propose(0.0), 0.0)
    assert other.hear(value.swap(other.propose(0.0), 0.0), 0.0) is Answer.AGAIN
    assert slow.hear(found, LEASE_S - 1.0) is Answer.MADE
    slow.busy = slow.lease.limit
    assert other.hear(value.swap(other.propose(SURE_S), SURE_S), SURE_S) is Answer.MADE
    assert (slow.in_flight(SURE_S), other.lease.limit) == (0, 8)


def test_a_claim_is_not_smaller_than_what_is_in_flight() -> None:
    crowd = Crowd(2)
    one, other = crowd.workers
    one.wanted = 8
    crowd.renew(one)
    crowd.time += RENEW_S
    crowd.renew(other)
    one.busy = one.lease.limit
    crowd.renew(one)
    crowd.renew(other)
    assert (one.busy, one.lease.limit, other.lease.limit) == (8, 4, 0), "no new ones, until old ones are over"
    one.busy = 4
    crowd.renew(one)
    crowd.renew(other)
    assert (one.lease.limit, other.lease.limit) == (4, 4)


def test_requests_that_outlive_their_lease_give_no_right_to_places_that_others_have_by_then() -> None:
    value = Value()
    lapsed, other = (Worker(Lease(name, 8), 0.0, wanted=8) for name in (b"lapsed", b"other"))
    for time in (0.0, RENEW_S):
        lapsed.hear(value.swap(lapsed.propose(time), time), time)
    other.hear(value.swap(other.propose(RENEW_S), RENEW_S), RENEW_S)
    time = RENEW_S + SURE_S
    lapsed.busy = 8
    for _ in range(2):
        found = value.swap(other.propose(time), time)
        other.hear(found, time)
    assert other.lease.limit == 8
    while lapsed.sent is None or lapsed.lease.answered(value.swap(lapsed.sent, time), time) is Answer.AGAIN:
        lapsed.propose(time)
    assert (lapsed.busy, lapsed.lease.limit, lapsed.lease.most) == (8, 0, 0)
    assert [claim.held for claim in read_board(value.data).claims] == [8, 0]


def test_p32_when_the_cache_goes_away_leases_run_out_before_parts_count() -> None:
    contact, value = Contact(), Value()
    greedy, late = (Worker(Lease(name, 8), 0.0, part=4, wanted=8) for name in (b"greedy", b"late"))
    for time in (0.0, RENEW_S, 2 * RENEW_S):
        greedy.hear(value.swap(greedy.propose(time), time), time)
    greedy.busy = greedy.lease.limit
    assert greedy.busy == 8
    contact.answered(2 * RENEW_S)
    time = away_at = 2 * RENEW_S
    while not contact.is_sure(time):
        contact.unanswered(time)
        for worker in (greedy, late):
            worker.propose(time)
            assert worker.hear(None, time) is not Answer.MADE
            worker.lease.unanswered(4, contact.is_sure(time), time)
            worker.settle(time)
        assert late.lease.limit == 0
        assert greedy.lease.limit == 4, "no more of the lease than the part is used"
        assert greedy.in_flight(time) + late.in_flight(time) <= 8
        time += 0.5
    assert time - away_at >= SURE_S
    for worker in (greedy, late):
        worker.lease.unanswered(4, contact.is_sure(time), time)
        worker.settle(time)
        assert worker.lease.limit == 4
    assert greedy.busy == 4, "what is beyond the part was cut off"


def test_p32_when_the_cache_is_back_parts_count_until_everybody_has_noticed() -> None:
    contact = Contact()
    assert contact.is_sure(0.0), "a cache that was never there"
    contact.unanswered(0.0)
    contact.answered(1.0)
    assert not contact.is_settling(1.0), "it has come up beside this worker"
    contact.unanswered(2.0)
    assert not contact.is_sure(2.0 + SURE_S - 0.1)
    assert contact.is_sure(2.0 + SURE_S)
    contact.answered(20.0)
    assert contact.is_settling(20.0 + SURE_S - 0.1)
    assert not contact.is_settling(20.0 + SURE_S)
    lease = Lease(b"a", 8)
    lease.answered(lease.propose(Use(3, 8, 3, is_settling=True), 20.0, WALL).new, 20.0)
    assert lease.limit == 3


def test_a_worker_that_stood_still_and_finds_the_cache_away_asks_nothing() -> None:
    value, worker = Value(), Worker(Lease(b"a", 8), 0.0, wanted=8)
    worker.hear(value.swap(worker.propose(0.0), 0.0), 0.0)
    answer = Answer.AGAIN
    while answer is Answer.AGAIN:  # the key may be gone, or the cache away
        worker.propose(60.0)
        answer = worker.hear(None, 60.0)
    assert answer is Answer.NONE
    worker.lease.unanswered(8, False, 60.0)
    assert worker.lease.limit == 0


def test_a_pause_that_a_host_asked_for_is_told_with_the_claims_and_the_longest_counts() -> None:
    value = Value()
    one, other = (Worker(Lease(name, 8), 0.0) for name in (b"one", b"other"))
    one.lease.hold = Hold(WALL + 100.0, "status_503", 503)
    one.hear(value.swap(one.propose(0.0), 0.0), 0.0)
    other.lease.hold = Hold(WALL + 5.0, "status_429", 429)
    assert other.hear(value.swap(other.propose(1.0), 1.0), 1.0) is Answer.AGAIN
    assert other.hear(value.swap(other.propose(1.0), 1.0), 1.0) is Answer.MADE
    assert other.lease.hold == one.lease.hold
    assert value.dies_at >= 100.0
    one.propose(200.0)
    assert one.sent is not None
    assert read_board(one.sent.new).hold is None
    assert later(None, None) is None


@given(st.binary(max_size=60))
def test_a_board_that_is_none_is_an_empty_one(data: bytes) -> None:
    assert isinstance(read_board(data), Board)
    lease = Lease(b"a", 8)
    swap = lease.propose(Use(0, 3, 8), 0.0, WALL)
    assert lease.answered(data, 0.0) in (Answer.AGAIN, Answer.MADE)
    swap = lease.propose(Use(0, 3, 8), 0.0, WALL)
    assert swap.old == data


def test_a_claim_is_told_as_it_is() -> None:
    board = Board([Claim(b"a", 1, 2, 3)], Hold(1.0, "x", 500))
    assert read_board(pack(board)) == board


@given(st.integers(0, 40), st.lists(st.integers(0, 40), max_size=30))
def test_parts_are_equal_but_for_those_who_want_less(whole: int, wanted: list[int]) -> None:
    parts = share_out(whole, wanted)
    assert sum(parts) == min(whole, sum(wanted))
    assert all(0 <= part <= want for part, want in zip(parts, wanted, strict=True))
    unmet = [part for part, want in zip(parts, wanted, strict=True) if part < want]
    assert not unmet or max(parts) - min(unmet) <= 1
    assert unmet == sorted(unmet, reverse=True), "who came first gets the rest"
