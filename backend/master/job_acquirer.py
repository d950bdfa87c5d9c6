"""From offers at the door to jobs in hand: stores every offer at once, takes as many jobs as there are free slots.

Offers stay unacknowledged until a lock server has answered that they are stored (P5, P7). A master with a free slot
also asks without offers, once a second with jitter, so that nothing stored is stranded. Offers that died in their
queue become jobs without any time left, which expire: their clients are told (P7). While too many jobs wait, offers are
kept and offered again later; the broker hands out no more than it may, and its queue fills (P6).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import secrets
from collections.abc import Callable

import msgspec

from roost.backend.broker.port import Broker, Delivery
from roost.backend.lock.client import LockClient
from roost.backend.master.event_publisher import EventPublisher
from roost.wire.clock import Clock
from roost.wire.errors import DecodeError, Unavailable
from roost.wire.failpoints import Point, reach
from roost.wire.messages.lock import Acquire, Acquired, Decision, Grant, Offer, Refused, read_offer

log = logging.getLogger(__name__)

ASK_S = 1.0
"""An idle master asks this often."""
OFFERS_AT_ONCE = 200
"""Offers in one acquire; also how many the broker hands out unacknowledged."""
NONCE_S = 4.0
"""A nonce is repeated for so long, less than the trust it starts; then a new one is taken (P8)."""
NONCE_BYTES = 16
OUTAGE_FROM = 3
"""So many unanswered requests one after another are an outage."""


def _without_time(offer: Offer) -> Offer:
    """Nobody may join its run, which is over before it begins."""
    own_run = hashlib.sha256(b"dead" + offer.client + offer.request.encode()).digest()
    return msgspec.structs.replace(offer, run_key=own_run, fresh_s=0.0, max_seconds=0.0)


class JobAcquirer:
    """`free_slots` and `running` are asked before each request; `on_grant` gets each job and when it was asked for."""

    def __init__(
        self,
        name: str,
        locks: LockClient,
        broker: Broker,
        clock: Clock,
        free_slots: Callable[[], int],
        running: Callable[[], int],
        on_grant: Callable[[Grant, float], None],
    ) -> None:
        self._name, self._locks, self._clock = name, locks, clock
        self._broker, self._post = broker, EventPublisher(broker)
        self._free_slots, self._running, self._on_grant = free_slots, running, on_grant
        self._offers: list[tuple[Delivery, Offer]] = []
        self._wake = asyncio.Event()
        self._missed_count = 0
        self._held_until = 0.0
        self.is_open = True

    async def on_delivery(self, delivery: Delivery) -> None:
        """Handler for the queue of offers, and for that of dead ones."""
        try:
            offer = read_offer(delivery.body)
            if delivery.died_in is not None:
                offer = _without_time(offer)
        except DecodeError as problem:
            log.error("unreadable offer dropped", extra={"action": "offer_unreadable", "reason": problem.message})
            delivery.acknowledge()
            return
        reach(Point.OFFER_TAKEN)
        self._offers.append((delivery, offer))
        self._wake.set()

    def wake(self) -> None:
        """A slot is free: ask now."""
        self._wake.set()

    async def run(self) -> None:
        """Ask on and on."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_S * random.uniform(0.75, 1.25)):  # noqa: S311  spreads masters out
                    await self._wake.wait()
            self._wake.clear()
            batch = self._next_batch()
            slots = self._free_slots() if self.is_open else 0
            try:
                if batch or slots:
                    await self._acquire(batch, slots)
            except Exception:  # an intake that ended here would strand every later job
                log.exception("intake failed", extra={"action": "intake_failed"})
                self._offers[:0] = batch
                await self._clock.sleep(ASK_S)

    def _next_batch(self) -> list[tuple[Delivery, Offer]]:
        """Offers to store now; none while the store has enough."""
        if self._clock.monotonic() < self._held_until:
            return []
        batch, self._offers = self._offers[:OFFERS_AT_ONCE], self._offers[OFFERS_AT_ONCE:]
        if self._offers:
            self._wake.set()
        return batch

    async def _acquire(self, batch: list[tuple[Delivery, Offer]], slots: int) -> None:
        """One answered acquire; asks until it is answered when offers are at stake."""
        answer, asked_at = await self._ask([offer for _, offer in batch], slots)
        if isinstance(answer, Acquired):
            if batch or answer.grants:
                reach(Point.ACQUIRE_ANSWERED)
            if answer.is_full:
                self._offers[:0] = batch
                self._held_until = self._clock.monotonic() + ASK_S
            else:
                for delivery, _ in batch:
                    delivery.acknowledge()
                if batch:
                    reach(Point.OFFER_ACKNOWLEDGED)
            for grant in answer.grants:
                self._on_grant(grant, asked_at)
            for knock in answer.ended:
                await self._post.send(knock.gateway, knock)
        elif isinstance(answer, Refused) and len(batch) > 1:
            for single in batch:
                await self._acquire([single], 0)
        elif isinstance(answer, Refused) and batch:
            log.error("offer refused by the store", extra={"action": "offer_refused", "reason": answer.message})
            batch[0][0].acknowledge()

    async def _ask(self, offers: list[Offer], slots: int) -> tuple[object, float]:
        ask, asked_at = self._new_ask(offers, slots), self._clock.monotonic()
        while True:
            try:
                decisions: list[Decision] = [ask]
                answer = (await self._locks.decide(decisions))[0]
                self._note(away=False)
                return answer, asked_at
            except Unavailable as problem:
                self._note(away=True, reason=problem.reason)
                if not offers:
                    return None, asked_at
            await self._clock.sleep(ASK_S)
            if self._clock.monotonic() - asked_at > NONCE_S:
                ask, asked_at = self._new_ask(offers, slots), self._clock.monotonic()

    def _new_ask(self, offers: list[Offer], slots: int) -> Acquire:
        return Acquire(self._name, secrets.token_bytes(NONCE_BYTES), slots, offers, self._running())

    def _note(self, away: bool, reason: str = "") -> None:
        """One answer missed is a busy moment; only an outage is worth a line, and its end."""
        if away and self._missed_count + 1 == OUTAGE_FROM:
            log.warning("no lock server answers", extra={"action": "locks_away", "reason": reason})
        if self._missed_count >= OUTAGE_FROM and not away:
            log.warning("a lock server answers again", extra={"action": "locks_back"})
        self._missed_count = self._missed_count + 1 if away else 0
