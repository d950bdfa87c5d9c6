"""Stores offers through a lock server and acquires as many jobs as the master has free slots.

An offer stays unacknowledged at the broker until a lock server has answered that it is stored (P5, P7). A master with a
free slot also polls without offers, once a second with jitter, so that no stored job is left waiting. An offer that was
dead-lettered becomes a job with no time left, which expires, so that its client gets an outcome (P7). While too many
jobs wait, the master keeps its offers and sends them again later. The broker then delivers no more, because its
prefetch is used up, and its queue fills (P6).
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

POLL_S = 1.0
"""How often (seconds) a master with free slots asks for jobs."""
OFFERS_AT_ONCE = 200
"""Most offers in one acquire; also the prefetch: how many offers the broker delivers unacknowledged."""
NONCE_S = 4.0
"""How long (seconds) a nonce is repeated before a new one is used (P8): less than the trust window it starts."""
NONCE_BYTES = 16
OUTAGE_FROM = 3
"""This many unanswered requests in a row are logged as an outage."""


def _without_time(offer: Offer) -> Offer:
    """Return the offer with no time left and a run key of its own, so that no other request joins the expired job."""
    own_run = hashlib.sha256(b"dead" + offer.client + offer.request.encode()).digest()
    return msgspec.structs.replace(offer, run_key=own_run, fresh_s=0.0, max_seconds=0.0)


class JobAcquirer:
    """Acquires jobs until cancelled.

    `free_slots` and `running` are called before each request. `on_grant` gets each granted job and the monotonic time
    (seconds) at which the request for it was first sent.
    """

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
        self._broker, self._events = broker, EventPublisher(broker)
        self._free_slots, self._running, self._on_grant = free_slots, running, on_grant
        self._offers: list[tuple[Delivery, Offer]] = []
        self._wake = asyncio.Event()
        self._missed_count = 0
        self._paused_until = 0.0
        self.is_open = True

    async def on_delivery(self, delivery: Delivery) -> None:
        """Handle a message from the queue of offers or from the queue of dead offers."""
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
        """Ask for jobs now, because a slot has become free."""
        self._wake.set()

    async def run(self) -> None:
        """Acquire jobs until cancelled. Errors are logged, and acquiring goes on."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S * random.uniform(0.75, 1.25)):  # noqa: S311  spreads masters out
                    await self._wake.wait()
            self._wake.clear()
            batch = self._next_batch()
            slots = self._free_slots() if self.is_open else 0
            try:
                if batch or slots:
                    await self._acquire(batch, slots)
            except Exception:  # if this loop ended, the master would take no more jobs
                log.exception("acquiring jobs failed", extra={"action": "intake_failed"})
                self._offers[:0] = batch
                await self._clock.sleep(POLL_S)

    def _next_batch(self) -> list[tuple[Delivery, Offer]]:
        """Return the offers to send now; none while the lock server has said that too many jobs wait."""
        if self._clock.monotonic() < self._paused_until:
            return []
        batch, self._offers = self._offers[:OFFERS_AT_ONCE], self._offers[OFFERS_AT_ONCE:]
        if self._offers:
            self._wake.set()
        return batch

    async def _acquire(self, batch: list[tuple[Delivery, Offer]], slots: int) -> None:
        """Send one acquire and act on the answer. With offers it is repeated until it is answered."""
        answer, asked_at = await self._request([offer for _, offer in batch], slots)
        if isinstance(answer, Acquired):
            if batch or answer.grants:
                reach(Point.ACQUIRE_ANSWERED)
            if answer.is_full:
                self._offers[:0] = batch
                self._paused_until = self._clock.monotonic() + POLL_S
            else:
                for delivery, _ in batch:
                    delivery.acknowledge()
                if batch:
                    reach(Point.OFFER_ACKNOWLEDGED)
            for grant in answer.grants:
                self._on_grant(grant, asked_at)
            for finished in answer.ended:
                await self._events.send(finished.gateway, finished)
        elif isinstance(answer, Refused) and len(batch) > 1:
            for single in batch:
                await self._acquire([single], 0)
        elif isinstance(answer, Refused) and batch:
            log.error("offer refused by the store", extra={"action": "offer_refused", "reason": answer.message})
            batch[0][0].acknowledge()

    async def _request(self, offers: list[Offer], slots: int) -> tuple[object, float]:
        acquire, asked_at = self._new_acquire(offers, slots), self._clock.monotonic()
        while True:
            try:
                decisions: list[Decision] = [acquire]
                answer = (await self._locks.decide(decisions))[0]
                self._count_unanswered(unanswered=False)
                return answer, asked_at
            except Unavailable as problem:
                self._count_unanswered(unanswered=True, reason=problem.reason)
                if not offers:
                    return None, asked_at
            await self._clock.sleep(POLL_S)
            if self._clock.monotonic() - asked_at > NONCE_S:
                acquire, asked_at = self._new_acquire(offers, slots), self._clock.monotonic()

    def _new_acquire(self, offers: list[Offer], slots: int) -> Acquire:
        return Acquire(self._name, secrets.token_bytes(NONCE_BYTES), slots, offers, self._running())

    def _count_unanswered(self, unanswered: bool, reason: str = "") -> None:
        """Log the start and the end of an outage. Fewer than `OUTAGE_FROM` missed answers are not logged."""
        if unanswered and self._missed_count + 1 == OUTAGE_FROM:
            log.warning("no lock server answers", extra={"action": "locks_away", "reason": reason})
        if self._missed_count >= OUTAGE_FROM and not unanswered:
            log.warning("a lock server answers again", extra={"action": "locks_back"})
        self._missed_count = self._missed_count + 1 if unanswered else 0
