"""What every store engine promises, as tests, each named after the rule of the job protocol that it defends.

A test module of an engine subclasses `StoreContract` and provides the fixtures `clock` (a `ManualClock` that the
store's time follows) and `open_store`: a function that opens the same, at first empty, store again and again, as
lock servers beside and after one another would, with the `StoreLimits` that it is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from roost.backend.jobs import TAKEN_ENDING
from roost.backend.store.port import (
    ALONE_WAIT_S,
    LEASE_S,
    READ_KEEPS_S,
    RESERVED_S,
    TICK_GAP_S,
    Store,
    StoreLimits,
)
from roost.wire.codes import ErrorCode
from roost.wire.messages.client import MAX_IDS
from roost.wire.messages.lock import (
    Acknowledge,
    Acquire,
    Acquired,
    Attach,
    CancelRequest,
    Complete,
    Completed,
    Decision,
    Detach,
    GatewayPoll,
    Grant,
    LeaseRenewal,
    Offer,
    PutPart,
    ReadParts,
    Refused,
    Release,
    RequestState,
    RequestStatus,
    Statuses,
    Verdict,
)
from roost.wire.messages.outcome import Ending, Outcome
from tests.clock import ManualClock

OpenStore = Callable[..., Awaitable[Store]]

ANN, BOB, CAT = (name * 16 for name in (b"a", b"b", b"c"))
DONE = Ending(Outcome.DONE, summary=b"{}")


def offer(client: bytes = ANN, request: str = "r1", run: bytes = b"run", **more: Any) -> Offer:
    """A request for the run named `run`."""
    plain = Offer(client, request, "g1", 1, "crawl", b"spec of " + run, run, 300.0, 3600.0)
    return msgspec.structs.replace(plain, **more)


class Desk:
    """Says the usual things to a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._nonces = 0

    async def one(self, decision: Decision) -> Any:
        return (await self.store.decide([decision]))[0]

    async def acquire(
        self, *offers: Offer, slots: int = 8, master: str = "m1", nonce: bytes = b"", running: int = 0
    ) -> Acquired:
        self._nonces += 1
        nonce = nonce or self._nonces.to_bytes(16, "big")
        answer = await self.one(Acquire(master, nonce, slots, list(offers), running))
        assert isinstance(answer, Acquired)
        return answer

    async def grant(self, *offers: Offer, **more: Any) -> Grant:
        """The only grant of an acquire."""
        (grant,) = (await self.acquire(*offers, **more)).grants
        return grant

    async def beat(self, grant: Grant, level: int = 0) -> Verdict:
        return (await self.store.beat([LeaseRenewal(grant.job, grant.token, level)]))[0].verdict

    async def complete(self, grant: Grant, ending: Ending = DONE) -> Completed:
        answer = await self.one(Complete(grant.job, grant.token, ending))
        assert isinstance(answer, Completed)
        return answer

    async def status(
        self, client: bytes = ANN, request: str = "r1", epoch: int = 2, gateway: str = "g2"
    ) -> RequestStatus:
        answer = await self.one(Attach(client, epoch, gateway, [request]))
        assert isinstance(answer, Statuses)
        return answer.requests[0]

    async def lose_lease(self, clock: ManualClock) -> None:
        """Time passes, the store ticking all the while, until a lease granted now is over."""
        for _ in range(int(LEASE_S) + 1):
            await clock.advance(1.0)
            await self.store.tick()


class StoreContract:
    """Every engine keeps the rules of the job protocol."""

    @pytest.fixture
    async def desk(self, open_store: OpenStore) -> Desk:
        return Desk(await open_store())

    # --- offers (P3, P4, P9, P10) ----------------------------------------------------------------

    async def test_p5_offers_are_stored_without_a_free_slot_and_granted_later(self, desk: Desk) -> None:
        assert (await desk.acquire(offer(), slots=0)).grants == []
        grant = await desk.grant()
        assert (grant.kind, grant.spec) == ("crawl", b"spec of run")

    async def test_p3_a_repeated_offer_starts_nothing(self, desk: Desk) -> None:
        await desk.acquire(offer())
        assert (await desk.acquire(offer())).grants == []

    async def test_p3_a_late_repeat_of_an_acknowledged_request_starts_nothing_and_is_told_that_its_id_is_taken(
        self, desk: Desk
    ) -> None:
        await desk.complete(await desk.grant(offer()))
        await desk.one(Acknowledge(ANN, "r1"))
        answer = await desk.acquire(offer())
        assert answer.grants == []
        (knock,) = answer.ended
        assert (knock.job, knock.requests, knock.ending) == (0, [(ANN, "r1")], TAKEN_ENDING)

    async def test_p2_an_offer_repeated_over_a_newer_connection_brings_the_request_there(self, desk: Desk) -> None:
        grant = await desk.grant(offer(gateway="g1", epoch=1))
        await desk.one(Detach("g1", [ANN]))
        await desk.acquire(offer(gateway="g2", epoch=2))
        await desk.acquire(offer(gateway="g1", epoch=1))
        assert [watcher.gateway for watcher in (await desk.complete(grant)).watchers] == ["g2"]
        (knock,) = (await desk.acquire(offer(gateway="g3", epoch=3))).ended
        assert knock.gateway == "g3"

    async def test_a_repeated_offer_of_one_does_not_tell_another_how_it_ended(self, desk: Desk) -> None:
        grant = await desk.grant(offer(ANN), offer(BOB))
        await desk.one(CancelRequest(ANN, "r1"))
        await desk.complete(grant)
        ended = (await desk.acquire(offer(BOB), offer(ANN))).ended
        told = {client: knock.ending.outcome for knock in ended for client, _ in knock.requests}
        assert told == {ANN: Outcome.CANCELLED, BOB: Outcome.DONE}

    async def test_p3_a_late_repeat_of_an_ended_request_knocks_again(self, desk: Desk) -> None:
        await desk.complete(await desk.grant(offer()))
        (knock,) = (await desk.acquire(offer())).ended
        assert (knock.gateway, knock.requests, knock.ending.outcome) == ("g1", [(ANN, "r1")], Outcome.DONE)

    async def test_p3_the_same_id_with_another_spec_changes_nothing(self, desk: Desk) -> None:
        await desk.acquire(offer(), slots=0)
        (knock,) = (await desk.acquire(offer(run=b"other"), slots=0)).ended
        assert knock.ending == TAKEN_ENDING
        assert (await desk.grant()).spec == b"spec of run"
        assert (await desk.acquire()).grants == []

    async def test_p9_the_same_run_is_shared(self, desk: Desk) -> None:
        grant = await desk.grant(offer(ANN), offer(BOB))
        done = await desk.complete(grant)
        assert {watcher.client for watcher in done.watchers} == {ANN, BOB}

    async def test_p9_a_run_too_old_for_the_joiner_is_not_joined(self, desk: Desk, clock: ManualClock) -> None:
        old = await desk.grant(offer(ANN))
        await clock.advance(LEASE_S - 1)
        new = await desk.grant(offer(BOB, fresh_s=1.0))
        assert new.job != old.job
        assert [watcher.client for watcher in (await desk.complete(old)).watchers] == [ANN]

    async def test_p10_a_request_over_the_limit_is_stored_as_busy(self, desk: Desk) -> None:
        answer = await desk.acquire(offer(), offer(request="r2", run=b"two"))
        assert len(answer.grants) == 1
        (knock,) = answer.ended
        assert knock.requests == [(ANN, "r2")]
        assert knock.ending.failure is not None
        assert knock.ending.failure.code == ErrorCode.BUSY
        assert (await desk.status(request="r2")).state is RequestState.ENDED

    async def test_p10_to_acknowledge_unfinished_work_is_to_give_it_up(self, desk: Desk) -> None:
        grant = await desk.grant(offer())
        await desk.one(Acknowledge(ANN, "r1"))
        assert await desk.beat(grant) is Verdict.CANCEL

    async def test_p10_ended_requests_do_not_count(self, desk: Desk) -> None:
        await desk.complete(await desk.grant(offer()))
        assert (await desk.grant(offer(request="r2", run=b"two"))).spec == b"spec of two"

    # --- grants (P5, P8, P16) --------------------------------------------------------------------

    async def test_p5_expired_leases_come_before_priority_before_age(self, desk: Desk, clock: ManualClock) -> None:
        lost = await desk.grant(offer(ANN))
        await desk.acquire(offer(BOB, run=b"old"), slots=0)
        await desk.lose_lease(clock)
        await desk.acquire(offer(CAT, run=b"urgent", priority=1), slots=0)
        specs = [grant.spec for grant in (await desk.acquire()).grants]
        assert specs == [lost.spec, b"spec of urgent", b"spec of old"]

    async def test_p5_waiting_is_worth_priority_in_time(self, desk: Desk, clock: ManualClock) -> None:
        await desk.acquire(offer(ANN, run=b"old"), slots=0)
        await clock.advance(StoreLimits().ageing_s + 1)
        await desk.acquire(offer(BOB, run=b"urgent", priority=1), slots=0)
        assert (await desk.grant(slots=1)).spec == b"spec of old"

    async def test_p8_the_same_nonce_gets_the_same_grant_while_the_lease_lasts(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        first = await desk.grant(offer(), nonce=b"n" * 16)
        assert (await desk.grant(offer(), nonce=b"n" * 16)).token == first.token
        await desk.lose_lease(clock)
        assert (await desk.grant(nonce=b"n" * 16)).token > first.token

    async def test_p8_a_nonce_is_worth_nothing_to_another_master(self, desk: Desk) -> None:
        await desk.grant(offer(), nonce=b"n" * 16)
        assert (await desk.acquire(master="m2", nonce=b"n" * 16)).grants == []

    async def test_tokens_only_grow_also_over_a_restart(
        self, desk: Desk, clock: ManualClock, open_store: OpenStore
    ) -> None:
        first = await desk.grant(offer())
        await desk.store.stop()
        again = Desk(await open_store())
        await again.lose_lease(clock)
        await again.lose_lease(clock)
        assert (await again.grant()).token > first.token

    async def test_p16_five_leases_lost_after_a_beat_fail_the_job(self, desk: Desk, clock: ManualClock) -> None:
        await desk.acquire(offer(), slots=0)
        grants = 0
        for _ in range(60):
            for grant in (await desk.acquire()).grants:
                grants += 1
                await desk.beat(grant)
            await desk.lose_lease(clock)
        status = await desk.status()
        assert grants == StoreLimits().attempts
        assert status.ending is not None
        assert status.ending.outcome is Outcome.FAILED
        assert status.ending.failure is not None
        assert status.ending.failure.code == ErrorCode.GAVE_UP

    async def test_p16_a_finished_level_starts_the_count_anew(self, desk: Desk, clock: ManualClock) -> None:
        await desk.acquire(offer(), slots=0)
        for level in range(1, 12):
            grants: list[Grant] = []
            while not grants:
                await desk.lose_lease(clock)
                grants = (await desk.acquire()).grants
            assert await desk.beat(grants[0], level=level) is Verdict.OK

    async def test_p16_a_lease_without_a_beat_and_a_release_cost_no_attempt(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        grant = await desk.grant(offer())
        for _ in range(7):
            await desk.lose_lease(clock)
            grant = await desk.grant()
            await desk.beat(grant)
            await desk.one(Release(grant.job, grant.token))
            grant = await desk.grant()
        assert grant.attempt == 0

    async def test_p16_a_job_that_lost_two_leases_wants_a_master_for_itself(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        await self._lose_twice(desk, clock)
        assert (await desk.acquire(running=1)).grants == []
        await desk.acquire(offer(BOB, run=b"neighbour"), slots=0)
        (alone,) = (await desk.acquire(running=0)).grants
        assert (alone.spec, alone.attempt) == (b"spec of run", 2)

    async def _lose_twice(self, desk: Desk, clock: ManualClock) -> None:
        """Ann's job has lost two leases, each after a beat, and could be granted again."""
        await desk.acquire(offer(ANN), slots=0)
        for _ in range(2):
            grants: list[Grant] = []
            while not grants:
                grants = (await desk.acquire()).grants
                await desk.lose_lease(clock) if not grants else None
            await desk.beat(grants[0])
            await desk.lose_lease(clock)
        await desk.acquire(running=1)  # which finds that it was lost again
        await desk.lose_lease(clock)

    async def _tick_on(self, desk: Desk, clock: ManualClock, seconds: float) -> None:
        for _ in range(int(seconds)):
            await clock.advance(1.0)
            await desk.store.tick()

    async def test_p16_a_job_that_wants_a_master_for_itself_gets_one_when_all_are_always_busy(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        await self._lose_twice(desk, clock)
        await self._tick_on(desk, clock, ALONE_WAIT_S)
        await desk.acquire(offer(BOB, run=b"two"), offer(CAT, run=b"three"), slots=0)
        assert (await desk.acquire(master="m1", running=3)).grants == [], "kept free from now on"
        await self._tick_on(desk, clock, RESERVED_S - 1)
        assert (await desk.acquire(master="m1", running=1)).grants == []
        others = (await desk.acquire(master="m2", running=1)).grants
        assert [grant.spec for grant in others] == [b"spec of two", b"spec of three"], "only one master is kept free"
        (alone,) = (await desk.acquire(master="m1", running=0)).grants
        assert (alone.spec, alone.attempt) == (b"spec of run", 2)
        assert (await desk.acquire(offer(b"d" * 16, run=b"four"), master="m1", running=1)).grants != []

    async def test_p16_a_master_that_is_kept_free_and_dies_gives_way_to_another(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        await self._lose_twice(desk, clock)
        await self._tick_on(desk, clock, ALONE_WAIT_S)
        assert (await desk.acquire(offer(BOB, run=b"two"), master="m1", running=1)).grants == []
        await self._tick_on(desk, clock, RESERVED_S)
        assert (await desk.acquire(master="m2", running=1)).grants == []
        (alone,) = (await desk.acquire(master="m2", running=0)).grants
        assert alone.spec == b"spec of run"

    async def test_p16_a_master_is_no_longer_kept_free_for_a_job_whose_own_master_is_back(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        await self._lose_twice(desk, clock)
        (old,) = (await desk.acquire(running=0)).grants
        await desk.lose_lease(clock)
        await self._tick_on(desk, clock, ALONE_WAIT_S)
        await desk.acquire(offer(BOB, run=b"two"), master="m2", running=1)
        assert await desk.beat(old) is Verdict.OK
        assert [grant.spec for grant in (await desk.acquire(master="m2", running=1)).grants] == [b"spec of two"]

    # --- leases and fences (P13, P14, P15) -------------------------------------------------------

    async def test_p14_a_late_complete_of_a_fenced_master_changes_nothing(self, desk: Desk, clock: ManualClock) -> None:
        old = await desk.grant(offer())
        await desk.lose_lease(clock)
        new = await desk.grant(master="m2")
        assert (await desk.complete(old)).verdict is Verdict.LOST
        assert await desk.store.put_part(PutPart(old.job, old.token, 0, b"stale")) is Verdict.LOST
        assert await desk.beat(old) is Verdict.LOST
        await desk.one(Release(old.job, old.token))
        assert await desk.beat(new) is Verdict.OK

    async def test_p13_a_late_beat_renews_a_lease_that_nobody_took(self, desk: Desk, clock: ManualClock) -> None:
        grant = await desk.grant(offer())
        await desk.lose_lease(clock)
        assert await desk.beat(grant) is Verdict.OK
        assert (await desk.acquire(master="m2")).grants == []

    async def test_p13_beats_keep_a_lease(self, desk: Desk, clock: ManualClock) -> None:
        grant = await desk.grant(offer())
        for _ in range(10):
            await clock.advance(2)
            await desk.store.tick()
            assert await desk.beat(grant) is Verdict.OK
            assert (await desk.acquire(master="m2")).grants == []

    async def test_p15_after_the_store_was_away_nobody_is_reaped_for_one_lease(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        grant = await desk.grant(offer())
        await clock.advance(LEASE_S + TICK_GAP_S)
        assert (await desk.acquire(master="m2")).grants == [], "not even before the first tick"
        await desk.store.tick()
        assert (await desk.acquire(master="m2")).grants == []
        assert await desk.beat(grant) is Verdict.OK

    async def test_a_complete_may_be_repeated_and_answers_the_same(self, desk: Desk) -> None:
        grant = await desk.grant(offer())
        assert await desk.complete(grant) == await desk.complete(grant)

    async def test_an_ended_job_takes_no_beats_and_no_parts(self, desk: Desk) -> None:
        grant = await desk.grant(offer())
        await desk.complete(grant)
        assert await desk.beat(grant) is Verdict.LOST
        assert await desk.store.put_part(PutPart(grant.job, grant.token, 0, b"late")) is Verdict.LOST

    # --- leaving (P11, P12, P26) -----------------------------------------------------------------

    async def test_p11_the_last_to_cancel_cancels_the_job_through_its_master(self, desk: Desk) -> None:
        grant = await desk.grant(offer(ANN), offer(BOB))
        (left,) = (await desk.one(CancelRequest(ANN, "r1"))).requests
        assert left.ending.outcome is Outcome.CANCELLED
        assert await desk.beat(grant) is Verdict.OK
        (waits,) = (await desk.one(CancelRequest(BOB, "r1"))).requests
        assert waits.state is RequestState.WAITING
        assert await desk.beat(grant) is Verdict.CANCEL
        await desk.complete(grant, Ending(Outcome.CANCELLED, parts=1))
        status = await desk.status(BOB)
        assert status.ending is not None
        assert (status.ending.outcome, status.ending.parts) == (Outcome.CANCELLED, 1)

    async def test_p11_a_job_being_cancelled_is_not_joined(self, desk: Desk) -> None:
        old = await desk.grant(offer(ANN))
        await desk.one(CancelRequest(ANN, "r1"))
        assert (await desk.grant(offer(BOB))).job != old.job

    async def test_a_waiting_job_is_cancelled_at_once(self, desk: Desk) -> None:
        await desk.acquire(offer(), slots=0)
        (status,) = (await desk.one(CancelRequest(ANN, "r1"))).requests
        assert status.state is RequestState.ENDED
        assert (await desk.acquire()).grants == []

    async def test_a_cancelled_job_whose_master_died_ends(self, desk: Desk, clock: ManualClock) -> None:
        await desk.grant(offer())
        await desk.one(CancelRequest(ANN, "r1"))
        await desk.lose_lease(clock)
        assert (await desk.status()).state is RequestState.ENDED

    @pytest.mark.parametrize("early", [CancelRequest(ANN, "r1"), Acknowledge(ANN, "r1")])
    async def test_p12_what_is_said_before_the_offer_comes_holds(self, desk: Desk, early: Decision) -> None:
        await desk.one(early)
        assert (await desk.acquire(offer())).grants == []

    async def test_p12_an_attach_before_the_offer_waits_for_it_at_the_newer_gateway(self, desk: Desk) -> None:
        assert (await desk.status(epoch=5, gateway="g2")).state is RequestState.WAITING
        done = await desk.complete(await desk.grant(offer(gateway="g1", epoch=4)))
        assert [watcher.gateway for watcher in done.watchers] == ["g2"]

    async def test_p12_an_attach_whose_offer_never_comes_is_unknown(self, desk: Desk, clock: ManualClock) -> None:
        await desk.status(gateway="g2")
        assert (await desk.store.sweep(GatewayPoll("g2"))).unknown == []
        await clock.advance(StoreLimits().expect_s)
        assert (await desk.store.sweep(GatewayPoll("g2"))).unknown == [(ANN, "r1")]

    async def test_p12_a_request_whose_offer_stays_away_is_told_unknown_ever_more_seldom(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        """Each time its client offers it once more, and where masters are away all of these wait in the queue."""
        await desk.status(gateway="g2")
        told_at = []
        for at in range(10, 1000, 10):
            await clock.advance(10.0)
            await desk.status(gateway="g2", epoch=at)  # it is there, waiting
            if (await desk.store.sweep(GatewayPoll("g2"))).unknown:
                told_at.append(at)
        assert told_at == [60, 120, 240, 480, 960]
        assert (await desk.grant(offer(gateway="g2", epoch=1000))).spec == b"spec of run"
        assert (await desk.store.sweep(GatewayPoll("g2"))).unknown == []

    async def test_p2_a_delayed_attach_with_a_lower_epoch_changes_nothing(self, desk: Desk) -> None:
        grant = await desk.grant(offer())
        await desk.status(epoch=9, gateway="g9")
        await desk.status(epoch=8, gateway="g8")
        assert [watcher.gateway for watcher in (await desk.complete(grant)).watchers] == ["g9"]

    async def test_p26_a_client_away_past_the_grace_leaves_its_unfinished_requests(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        grant = await desk.grant(offer())
        await desk.one(Detach("g1", [ANN]))
        await self._pass(desk, clock, StoreLimits().grace_s - 10, grant)
        assert await desk.beat(grant) is Verdict.OK
        await self._pass(desk, clock, 20, grant)
        assert await desk.beat(grant) is Verdict.CANCEL

    async def test_p26_a_client_that_returns_keeps_its_request(self, desk: Desk, clock: ManualClock) -> None:
        grant = await desk.grant(offer())
        await desk.one(Detach("g1", [ANN]))
        await self._pass(desk, clock, 60, grant)
        await desk.status()
        await self._pass(desk, clock, StoreLimits().grace_s, grant, gateway="g2")
        assert await desk.beat(grant) is Verdict.OK

    async def test_p26_who_returns_after_the_grace_is_told_how_it_ended_as_if_never_away(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        await desk.complete(await desk.grant(offer()))
        await desk.one(Detach("g1", [ANN]))
        for _ in range(int(StoreLimits().grace_s)):
            await clock.advance(2.0)
            await desk.store.tick()
        assert (await desk.store.sweep(GatewayPoll("g2"))).knocks == []
        assert (await desk.status(gateway="g2")).state is RequestState.ENDED
        (knock,) = (await desk.store.sweep(GatewayPoll("g2"))).knocks
        assert knock.requests == [(ANN, "r1")]
        grant = await desk.grant(offer(request="r2", run=b"two", gateway="g2"))
        await desk.one(Detach("g2", [ANN]))
        await self._pass(desk, clock, StoreLimits().grace_s + 10, grant)
        assert await desk.beat(grant) is Verdict.CANCEL, "a new absence has a grace and an end of its own"

    async def test_p26_a_detach_that_comes_after_the_client_is_back_changes_nothing(self, desk: Desk) -> None:
        grant = await desk.grant(offer(epoch=1))
        await desk.status(epoch=2, gateway="g1")
        await desk.one(Detach("g1", [ANN], epoch=1))
        assert [watcher.client for watcher in (await desk.complete(grant)).watchers] == [ANN]

    async def test_p6_jobs_that_wait_are_counted_up_to_a_bound(self, desk: Desk) -> None:
        for number in range(3):
            await desk.acquire(offer(bytes([number]) * 16, run=bytes([number])), slots=0)
        assert [await desk.store.waiting_count(most) for most in (2, 10)] == [2, 3]
        await desk.acquire(slots=2)
        assert await desk.store.waiting_count(10) == 1

    async def test_p26_a_detach_that_names_requests_leaves_the_clients_others(self, desk: Desk) -> None:
        """A gateway that heard of an old request takes its client for gone, while a new one is on its way."""
        grant = await desk.grant(offer(request="new"))
        await desk.one(Detach("g1", [ANN], requests=["old"]))
        assert [watcher.client for watcher in (await desk.complete(grant)).watchers] == [ANN]
        last = await desk.grant(offer(request="last"))
        await desk.one(Detach("g1", [ANN], requests=["old", "last"]))
        assert (await desk.complete(last)).watchers == []

    async def test_p26_results_nobody_came_for_do_not_keep_others_from_being_left(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        crowd = [bytes([number // 256, number % 256]) * 8 for number in range(300)]
        for client in crowd:
            await desk.complete(await desk.grant(offer(client)))
        await desk.one(Detach("g1", crowd))
        await clock.advance(StoreLimits().retention_s + 10)
        for _ in range(3):
            await desk.lose_lease(clock)
        grant = await desk.grant(offer(ANN))
        await desk.one(Detach("g1", [ANN]))
        await self._pass(desk, clock, StoreLimits().grace_s + 10, grant)
        assert await desk.beat(grant) is Verdict.CANCEL

    async def test_p26_clients_of_a_dead_gateway_are_away_since_its_last_beat(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        grant = await desk.grant(offer())
        await desk.store.sweep(GatewayPoll("g1"))
        await self._pass(desk, clock, StoreLimits().grace_s + 10, grant)
        assert await desk.beat(grant) is Verdict.CANCEL

    async def _pass(self, desk: Desk, clock: ManualClock, seconds: float, grant: Grant, gateway: str = "") -> None:
        for _ in range(int(seconds / 2)):
            await clock.advance(2.0)
            await desk.store.tick()
            await desk.beat(grant)
            if gateway:
                await desk.store.sweep(GatewayPoll(gateway))

    # --- results (P24, P26, P28) -----------------------------------------------------------------

    async def test_p24_parts_come_back_in_order_and_only_those_of_the_run_that_ended(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        old = await desk.grant(offer())
        await desk.store.put_part(PutPart(old.job, old.token, 0, b"old"))
        await desk.lose_lease(clock)
        new = await desk.grant()
        for seq in (2, 0, 1, 1):
            assert await desk.store.put_part(PutPart(new.job, new.token, seq, b"%d" % seq)) is Verdict.OK
        await desk.complete(new, Ending(Outcome.DONE, parts=3))
        status = await desk.status()
        assert status.ending is not None
        assert await desk.store.read_parts(ReadParts(status.job, status.ending.token, 0, 2)) == [b"0", b"1"]
        assert await desk.store.read_parts(ReadParts(status.job, status.ending.token, 2, 2)) == [b"2"]
        assert await desk.store.read_parts(ReadParts(old.job, old.token, 0, 9)) == []

    async def test_p26_a_sweep_finds_what_ended_until_it_is_acknowledged(self, desk: Desk) -> None:
        await desk.complete(await desk.grant(offer()))
        for _ in range(2):
            (knock,) = (await desk.store.sweep(GatewayPoll("g1"))).knocks
            assert knock.requests == [(ANN, "r1")]
        await desk.one(Acknowledge(ANN, "r1"))
        assert (await desk.store.sweep(GatewayPoll("g1"))).knocks == []

    async def test_p26_a_gateway_is_not_told_of_clients_that_have_left_it(self, desk: Desk) -> None:
        await desk.complete(await desk.grant(offer()))
        await desk.one(Detach("g1", [ANN]))
        assert (await desk.store.sweep(GatewayPoll("g1"))).knocks == []

    async def test_p26_no_crowd_of_unacknowledged_results_hides_another_from_the_sweeps(self, desk: Desk) -> None:
        crowd = [bytes([number // 256, number % 256]) * 8 for number in range(MAX_IDS + 200)]
        offers = [offer(client) for client in crowd]
        await desk.complete(await desk.grant(*offers))
        seen: set[bytes] = set()
        for _ in range(20):
            for knock in (await desk.store.sweep(GatewayPoll("g1"))).knocks:
                seen.update(client for client, _ in knock.requests)
        assert seen == set(crowd)

    async def test_i2_a_result_is_only_its_clients(self, desk: Desk) -> None:
        await desk.complete(await desk.grant(offer(ANN)))
        assert (await desk.status(BOB)).state is RequestState.WAITING

    async def test_i2_a_new_job_is_never_taken_for_one_that_was_forgotten(
        self, desk: Desk, clock: ManualClock, open_store: OpenStore
    ) -> None:
        await desk.complete(await desk.grant(offer(ANN)))
        await clock.advance(StoreLimits().retention_s + 10)
        await desk.lose_lease(clock)
        await desk.store.stop()
        again = Desk(await open_store())
        await again.complete(await again.grant(offer(BOB, run=b"other"), nonce=b"n" * 16))
        assert (await again.status(ANN)).state is RequestState.EXPIRED

    async def test_i1_an_outcome_survives_a_restart(self, desk: Desk, open_store: OpenStore) -> None:
        grant = await desk.grant(offer())
        await desk.store.put_part(PutPart(grant.job, grant.token, 0, b"kept"))
        await desk.complete(grant, Ending(Outcome.DONE, parts=1))
        await desk.store.stop()
        again = Desk(await open_store())
        status = await again.status()
        assert status.ending is not None
        assert await again.store.read_parts(ReadParts(status.job, status.ending.token, 0, 9)) == [b"kept"]

    async def test_p28_a_resume_after_the_retention_gets_expired(self, desk: Desk, clock: ManualClock) -> None:
        await desk.complete(await desk.grant(offer()))
        await clock.advance(StoreLimits().retention_s + 10)
        await desk.store.tick()
        await clock.advance(LEASE_S + 1)
        await desk.store.tick()
        assert (await desk.status()).state is RequestState.EXPIRED

    async def test_p28_a_result_that_is_read_at_the_end_of_its_retention_stays_until_it_is_read(
        self, desk: Desk, clock: ManualClock
    ) -> None:
        grant = await desk.grant(offer())
        for seq in (0, 1):
            await desk.store.put_part(PutPart(grant.job, grant.token, seq, b"%d" % seq))
        await desk.complete(grant, Ending(Outcome.DONE, parts=2))
        await clock.advance(StoreLimits().retention_s - 5)
        assert await desk.store.read_parts(ReadParts(grant.job, grant.token, 0, 1)) == [b"0"]
        await desk.store.tick()
        await self._tick_on(desk, clock, 2 * LEASE_S)
        assert await desk.store.read_parts(ReadParts(grant.job, grant.token, 1, 1)) == [b"1"]
        await clock.advance(READ_KEEPS_S + 5)
        await desk.store.tick()
        await self._tick_on(desk, clock, 2 * LEASE_S)
        assert await desk.store.read_parts(ReadParts(grant.job, grant.token, 1, 1)) == []
        assert (await desk.status()).state is RequestState.EXPIRED

    async def test_a_waiting_job_past_its_time_expires(self, desk: Desk, clock: ManualClock) -> None:
        await desk.acquire(offer(max_seconds=5.0), slots=0)
        await desk.lose_lease(clock)
        status = await desk.status()
        assert status.ending is not None
        assert status.ending.outcome is Outcome.EXPIRED

    # --- batches (P18, P19) ----------------------------------------------------------------------

    async def test_p19_a_decision_with_bad_data_harms_no_neighbour(self, desk: Desk) -> None:
        bad = Acquire("m1", b"n" * 16, 1, [offer(BOB, request="\ud800")])
        good = Acquire("m1", b"o" * 16, 1, [offer(ANN)])
        refused, acquired = await desk.store.decide([bad, good])
        assert isinstance(refused, Refused)
        assert isinstance(acquired, Acquired)
        assert len(acquired.grants) == 1

    async def test_two_stores_side_by_side_grant_a_job_once(self, desk: Desk, open_store: OpenStore) -> None:
        other = Desk(await open_store())
        await desk.acquire(offer(), slots=0)
        first, second = (
            await desk.acquire(master="m1", nonce=b"1" * 16),
            await other.acquire(master="m2", nonce=b"2" * 16),
        )
        assert len(first.grants) + len(second.grants) == 1
