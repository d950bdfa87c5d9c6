"""What every store engine promises about outages: nobody is taken for gone because the store was away (P15, P26).

A part of the contract of `tests.backend.store.contract_store`, with the same fixtures. An outage is time in which
the store is not ticked: that is all that a store can see of it.
"""

from __future__ import annotations

import pytest

from roost.backend.store.port import LEASE_S, SWEPT_WITHIN_S, TICK_GAP_S, TWO_SWEEPS_S, StoreLimits
from roost.wire.messages.lock import Attach, Detach, GatewayPoll, Grant, Verdict
from tests.backend.store.contract_store import ANN, BOB, Desk, OpenStore, offer
from tests.clock import ManualClock

BEAT_S = 2
"""Also the step of time: the store is ticked as often, which is no gap."""
GRACE_S = StoreLimits().grace_s
DAY_S = 24 * 3600.0
LEAP_S = 36 * 3600.0
SOON_S = 4.0
"""The store notices what is due at its next tick, and its clock may be up to one tick old."""
OUTAGES_S = (
    *(each + more for each in (TICK_GAP_S, LEASE_S, SWEPT_WITHIN_S, TWO_SWEEPS_S, GRACE_S) for more in (-1.0, 1.0)),
    GRACE_S + TWO_SWEEPS_S + 1.0,
    3 * DAY_S,
)
"""One second less and more than each time that matters."""


class Scene:
    """A master that runs the job that ANN asked for at the gateway g1; both report whenever they reach the store."""

    def __init__(self, desk: Desk, clock: ManualClock, grant: Grant) -> None:
        self.desk, self.clock, self.grant = desk, clock, grant
        self._next_sweep_in = SWEPT_WITHIN_S
        self.has_gateway = True

    async def pass_time(self, seconds: float) -> None:
        """The store is up. A beat each 2 s; a sweep each 15 to 16 s, the least that a gateway promises."""
        for _ in range(int(seconds / BEAT_S)):
            await self.clock.advance(BEAT_S)
            await self.desk.store.tick()
            assert (await self.desk.acquire(master="m2")).grants == [], "a living master keeps its lease"
            assert await self.desk.beat(self.grant) is Verdict.OK, "a job that somebody waits for goes on"
            self._next_sweep_in -= BEAT_S
            if self._next_sweep_in <= 0 and self.has_gateway:
                self._next_sweep_in = SWEPT_WITHIN_S
                await self.desk.store.sweep(GatewayPoll("g1"))

    async def store_away(self, seconds: float) -> None:
        """Beats and sweeps that fall due are lost: the next ones come a whole period after the store's return."""
        await self.clock.advance(seconds)
        self._next_sweep_in = SWEPT_WITHIN_S

    async def job_is_cancelled_within(self, seconds: float) -> bool:
        """The master beats all the while. False when its job still runs after that time."""
        for _ in range(int(seconds / BEAT_S)):
            await self.clock.advance(BEAT_S)
            await self.desk.store.tick()
            if await self.desk.beat(self.grant) is Verdict.CANCEL:
                return True
        return False


class OutageContract:
    """Nobody loses a lease or a grace by an outage, and who is really gone is still noticed."""

    @pytest.fixture
    async def scene(self, desk: Desk, clock: ManualClock) -> Scene:
        return await self._scene(desk, clock)

    async def _scene(self, desk: Desk, clock: ManualClock) -> Scene:
        await desk.store.tick()
        grant = await desk.grant(offer(max_seconds=10 * DAY_S))
        await desk.store.sweep(GatewayPoll("g1"))
        scene = Scene(desk, clock, grant)
        await scene.pass_time(SWEPT_WITHIN_S - 1)  # the next sweep would have come a second later
        return scene

    @pytest.mark.parametrize("away_s", OUTAGES_S)
    async def test_p15_after_an_outage_living_masters_and_gateways_have_two_chances_to_report(
        self, scene: Scene, away_s: float
    ) -> None:
        await scene.store_away(away_s)
        await scene.pass_time(2 * SWEPT_WITHIN_S + BEAT_S)

    @pytest.mark.parametrize("away_s", [TICK_GAP_S + 1, 3 * DAY_S])
    async def test_p26_an_outage_uses_up_no_grace_of_a_client_that_was_away(self, scene: Scene, away_s: float) -> None:
        """It could not come back before the store did."""
        await scene.desk.one(Detach("g1", [ANN]))
        await scene.pass_time(60)
        await scene.store_away(away_s)
        await scene.pass_time(GRACE_S - 2)
        assert await scene.job_is_cancelled_within(SOON_S)

    async def test_p26_a_client_that_comes_back_after_an_outage_keeps_its_job(self, scene: Scene) -> None:
        await scene.desk.one(Detach("g1", [ANN]))
        await scene.store_away(3 * DAY_S)
        await scene.pass_time(GRACE_S - 2)
        await scene.desk.one(Attach(ANN, 2, "g1", ["r1"]))
        await scene.pass_time(GRACE_S + TWO_SWEEPS_S)

    @pytest.mark.parametrize("dead_s", [0, 60], ids=["died during the outage", "died before it"])
    async def test_p26_the_jobs_of_a_gateway_that_died_are_cancelled_a_grace_after_the_stores_return(
        self, scene: Scene, dead_s: float
    ) -> None:
        scene.has_gateway = False
        await scene.pass_time(dead_s)
        await scene.store_away(GRACE_S + 10)
        await scene.pass_time(GRACE_S - 2)
        assert await scene.job_is_cancelled_within(SOON_S)

    async def test_p26_a_gateway_that_dies_soon_after_an_outage_is_noticed_as_ever(self, scene: Scene) -> None:
        await scene.store_away(GRACE_S + 10)
        await scene.pass_time(SWEPT_WITHIN_S)
        scene.has_gateway = False
        assert await scene.job_is_cancelled_within(GRACE_S + SOON_S)

    async def test_p15_a_store_that_flaps_costs_nobody_anything_while_it_does(self, scene: Scene) -> None:
        """No sweep ever gets through, and hardly a beat; the store's up-times add up to more than any grace."""
        for _ in range(12):
            await scene.store_away(TICK_GAP_S + 2)
            await scene.pass_time(SWEPT_WITHIN_S - 1)
        scene.has_gateway = False
        assert await scene.job_is_cancelled_within(GRACE_S + SOON_S)

    @pytest.mark.parametrize("away_s", [0.0, GRACE_S + 10], ids=["up", "away"])
    @pytest.mark.parametrize("leap_s", [LEAP_S, -LEAP_S], ids=["forwards", "backwards"])
    async def test_p15_when_the_stores_clock_leaps_nobody_was_silent(
        self, scene: Scene, clock: ManualClock, leap_s: float, away_s: float
    ) -> None:
        clock.set_back(-leap_s)
        await scene.store_away(away_s)
        await scene.pass_time(2 * SWEPT_WITHIN_S + BEAT_S)

    @pytest.mark.parametrize("leap_s", [LEAP_S, -LEAP_S], ids=["forwards", "backwards"])
    async def test_p26_a_gateway_that_died_when_the_clock_leapt_is_noticed(
        self, scene: Scene, clock: ManualClock, leap_s: float
    ) -> None:
        clock.set_back(-leap_s)
        scene.has_gateway = False
        await scene.pass_time(GRACE_S - SWEPT_WITHIN_S)
        assert await scene.job_is_cancelled_within(SWEPT_WITHIN_S + SOON_S)

    @pytest.mark.parametrize("leap_s", [0.0, LEAP_S, -LEAP_S], ids=["right", "forwards", "backwards"])
    async def test_p15_when_the_lock_server_starts_again_nobody_was_silent(
        self, desk: Desk, clock: ManualClock, open_store: OpenStore, leap_s: float
    ) -> None:
        """Also when the clock says that no time passed: then nobody knows how much did."""
        scene = await self._scene(desk, clock)
        await desk.one(Detach("g1", [ANN]))
        await scene.pass_time(60)
        await desk.store.stop()
        clock.set_back(-leap_s)
        await scene.store_away(GRACE_S + 10)
        scene.desk = Desk(await open_store())
        await scene.pass_time(GRACE_S - 2)
        assert await scene.job_is_cancelled_within(SOON_S)

    async def test_p26_after_an_outage_gateways_have_two_chances_however_short_the_grace(
        self, clock: ManualClock, open_store: OpenStore
    ) -> None:
        desk = Desk(await open_store(StoreLimits(grace_s=5.0)))
        await desk.store.tick()
        grant = await desk.grant(offer(), offer(BOB))
        await desk.store.sweep(GatewayPoll("g1"))
        scene = Scene(desk, clock, grant)
        scene.has_gateway = False
        await scene.store_away(GRACE_S)
        await scene.pass_time(2 * SWEPT_WITHIN_S)
        assert await scene.job_is_cancelled_within(TWO_SWEEPS_S - 2 * SWEPT_WITHIN_S + SOON_S)
