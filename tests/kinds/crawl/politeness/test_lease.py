"""A lease: who gets how many places of a host, and when; what happens without the cache and when it forgets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.kinds.crawl.politeness.host_board import (
    Board,
    Claim,
    HostPause,
    later,
    read_board,
    share_out,
)
from roost.backend.kinds.crawl.politeness.host_coordinator import HostCoordinator
from roost.backend.kinds.crawl.politeness.host_lease import (
    LEASE_S,
    RENEW_S,
    SURE_S,
    Answer,
    Contact,
    Use,
)
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.codec import pack
from tests.kinds.crawl.politeness.leases import TICK_S, WALL, Value, Worker, new_lease


class Crowd:
    """Workers that renew when it is time and always use all they may; each request takes `TICK_S`."""

    def __init__(self, count: int, whole: int = 8, part: int = 100) -> None:
        self.time, self.value, self.whole = 0.0, Value(), whole
        self.workers = [
            Worker(new_lease(b"%d" % number, whole), 0.0, part=part, wanted=whole) for number in range(count)
        ]
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
    value, worker = Value(), Worker(new_lease(b"a"), 0.0, wanted=4)
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
    slow, other = (Worker(new_lease(name), 0.0, wanted=8) for name in (b"slow", b"other"))
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
    lapsed, other = (Worker(new_lease(name), 0.0, wanted=8) for name in (b"lapsed", b"other"))
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
    greedy, late = (Worker(new_lease(name), 0.0, part=4, wanted=8) for name in (b"greedy", b"late"))
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
    contact.unanswered(2.0)
    assert not contact.is_sure(2.0 + SURE_S - 0.1)
    assert contact.is_sure(2.0 + SURE_S)
    contact.answered(20.0)
    assert contact.is_settling(20.0 + SURE_S - 0.1)
    assert not contact.is_settling(20.0 + SURE_S)
    lease = new_lease(b"a")
    lease.answered(lease.propose(Use(3, 8, 3, is_settling=True), 20.0, WALL).new, 20.0)
    assert lease.limit == 3


def test_a_worker_that_stood_still_and_finds_the_cache_away_asks_nothing() -> None:
    value, worker = Value(), Worker(new_lease(b"a"), 0.0, wanted=8)
    worker.hear(value.swap(worker.propose(0.0), 0.0), 0.0)
    answer = Answer.AGAIN
    while answer is Answer.AGAIN:  # the key may be gone, or the cache away
        worker.propose(60.0)
        answer = worker.hear(None, 60.0)
    assert answer is Answer.NONE
    worker.lease.unanswered(8, False, 60.0)
    assert worker.lease.limit == 0


def test_p32_a_worker_that_starts_while_the_cache_is_away_waits_until_no_lease_is_left() -> None:
    contact, worker = Contact(), Worker(new_lease(b"a"), 0.0, part=4, wanted=8)
    assert not contact.is_sure(0.0)
    for time in (0.0, RENEW_S, SURE_S - 0.1, SURE_S):
        contact.unanswered(time)
        worker.propose(time)
        assert worker.hear(None, time) is Answer.NONE
        worker.lease.unanswered(4, contact.is_sure(time), time)
        assert worker.lease.limit == (4 if time >= SURE_S else 0), "others may hold leases"


def test_p32_who_claims_nothing_while_the_cache_is_away_has_no_lease_that_could_end_under_the_next_request() -> None:
    worker = Worker(new_lease(b"a"), 0.0, part=4, wanted=4)
    worker.propose(0.0)
    assert worker.hear(None, 0.0) is Answer.NONE
    worker.lease.unanswered(4, True, 0.0)
    assert worker.lease.limit == 4
    worker.wanted = 0
    worker.propose(RENEW_S)
    worker.hear(None, RENEW_S)
    worker.lease.unanswered(4, True, RENEW_S)
    assert worker.lease.is_over()
    assert worker.lease.limit == worker.lease.most == 0


def test_when_the_cache_forgets_who_has_a_lease_does_not_grow_at_the_cost_of_other_leases() -> None:
    crowd = Crowd(2)
    crowd.run(5 * RENEW_S)
    assert crowd.tick() == [4, 4]
    crowd.value.data = None
    forgot_at = crowd.time
    while crowd.time < forgot_at + SURE_S:
        assert crowd.tick() == [4, 4]
    crowd.workers[1].is_running = False
    crowd.run(2 * SURE_S)
    assert crowd.tick()[0] == 8, "it may grow again later"


def test_a_cache_that_did_not_answer_once_has_not_forgotten() -> None:
    crowd = Crowd(2)
    crowd.run(5 * RENEW_S)
    one, other = crowd.workers
    one.propose(crowd.time)
    assert one.hear(None, crowd.time) is Answer.AGAIN, "the key may be gone"
    crowd.renew(one)
    other.busy = other.wanted = 0
    crowd.renew(other)
    other.is_running = False
    crowd.run(RENEW_S)
    assert crowd.tick() == [8, 0]


async def test_leases_of_a_host_that_was_forgotten_meanwhile_do_not_repeat_stamps() -> None:
    turns, boards = HostCoordinator(MemoryCache(), SYSTEM_CLOCK, b"a"), set()
    for _ in range(4):  # each time a new lease, as after the host was forgotten
        lease = turns.lease(8)
        await turns.renew("host", lease, lambda: (0, 1))
        assert lease.limit == 1
        boards.add(lease._board)
    assert len(boards) == 4


def test_a_pause_that_a_host_asked_for_is_told_with_the_claims_and_the_longest_counts() -> None:
    value = Value()
    one, other = (Worker(new_lease(name), 0.0) for name in (b"one", b"other"))
    one.lease.hold = HostPause(WALL + 100.0, "status_503", 503)
    one.hear(value.swap(one.propose(0.0), 0.0), 0.0)
    other.lease.hold = HostPause(WALL + 5.0, "status_429", 429)
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
    lease = new_lease(b"a")
    swap = lease.propose(Use(0, 3, 8), 0.0, WALL)
    assert lease.answered(data, 0.0) in (Answer.AGAIN, Answer.MADE)
    swap = lease.propose(Use(0, 3, 8), 0.0, WALL)
    assert swap.old == data


def test_a_claim_is_told_as_it_is() -> None:
    board = Board([Claim(b"a", 1, 2, 3)], HostPause(1.0, "x", 500))
    assert read_board(pack(board)) == board


@given(st.integers(0, 40), st.lists(st.integers(0, 40), max_size=30))
def test_parts_are_equal_but_for_those_who_want_less(whole: int, wanted: list[int]) -> None:
    parts = share_out(whole, wanted)
    assert sum(parts) == min(whole, sum(wanted))
    assert all(0 <= part <= want for part, want in zip(parts, wanted, strict=True))
    unmet = [part for part, want in zip(parts, wanted, strict=True) if part < want]
    assert not unmet or max(parts) - min(unmet) <= 1
    assert unmet == sorted(unmet, reverse=True), "who came first gets the rest"
