"""What every broker engine promises, as tests.

A test module of an engine subclasses `BrokerContract` and provides the fixture `engine`: something with `connect()`,
which gives a fresh, unstarted connection to one and the same broker, as two processes would have. Time is real here:
the spans are short and every wait is for a condition, so slow engines only take longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol
from uuid import uuid4

import pytest

from bench.support.waiting import PATIENCE_S, until
from roost.backend.broker.port import Broker, Delivery, QueueSpec, Subscription
from roost.wire.errors import Misuse, Unavailable

SOON_S = 0.25
"""A message's time to live, short enough to wait for."""
LATER_S = 1.0
"""For a queue that must not go away between its declaration and its consumer, however busy the machine is."""


class BrokerEngine(Protocol):
    """What an engine's test module has to provide."""

    def connect(self) -> Broker:
        """Another connection, not started, to the same broker."""


class Inbox:
    """A handler that keeps what it gets, unsettled, for the test to look at."""

    def __init__(self) -> None:
        self.all: list[Delivery] = []
        self._unread: asyncio.Queue[Delivery] = asyncio.Queue()

    async def __call__(self, delivery: Delivery) -> None:
        self.all.append(delivery)
        self._unread.put_nowait(delivery)

    async def next(self) -> Delivery:
        async with asyncio.timeout(PATIENCE_S):
            return await self._unread.get()

    async def take(self, count: int) -> list[Delivery]:
        return [await self.next() for _ in range(count)]

    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.all]


class Site:
    """Connections and queues of one test, under names of its own."""

    def __init__(self, engine: BrokerEngine, stack: AsyncExitStack) -> None:
        self._engine, self._stack = engine, stack
        self._mark = uuid4().hex[:12]

    def name(self, word: str) -> str:
        return f"test.{self._mark}.{word}"

    def spec(
        self,
        word: str,
        max_length: int | None = None,
        ttl_s: float | None = None,
        delivery_limit: int | None = None,
        dead_letters: str | None = None,
        expires_s: float | None = None,
    ) -> QueueSpec:
        dead = None if dead_letters is None else self.name(dead_letters)
        return QueueSpec(self.name(word), True, max_length, ttl_s, delivery_limit, dead, expires_s)

    async def connect(self) -> Broker:
        broker = self._engine.connect()
        await broker.start()
        self._stack.push_async_callback(broker.stop)
        return broker

    async def queue(self, broker: Broker, spec: QueueSpec | None = None) -> str:
        spec = spec or self.spec("queue")
        await broker.declare(spec)
        return spec.name

    async def inbox(self, broker: Broker, queue: str, prefetch: int = 100) -> tuple[Inbox, Subscription]:
        inbox = Inbox()
        return inbox, await broker.consume(queue, inbox, prefetch)


async def publish(broker: Broker, queue: str, *bodies: bytes) -> None:
    for body in bodies:
        await broker.publish(queue, body)


async def until_depth(broker: Broker, queue: str, depth: int) -> None:
    async def reached() -> bool:
        return await broker.depth(queue) == depth

    await until(reached)


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


class BrokerContract:
    """Every promise of `roost.backend.broker.port`."""

    @pytest.fixture
    async def site(self, engine: BrokerEngine) -> AsyncIterator[Site]:
        async with AsyncExitStack() as stack:
            yield Site(engine, stack)

    @pytest.fixture
    async def broker(self, site: Site) -> Broker:
        return await site.connect()

    # -- publish and consume

    async def test_a_message_arrives_as_it_was_published(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inbox, _ = await site.inbox(broker, queue)
        for body in (b"", b"\x00\xff\n", bytes(range(256)) * 4096):
            await broker.publish(queue, body)
            delivery = await inbox.next()
            assert delivery.body == body
            assert (delivery.queue, delivery.died_in, delivery.redelivered) == (queue, None, False)

    async def test_messages_wait_for_a_consumer(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        await publish(broker, queue, *numbered(3))
        await until_depth(broker, queue, 3)
        inbox, _ = await site.inbox(await site.connect(), queue)
        assert [delivery.body for delivery in await inbox.take(3)] == numbered(3)
        await until_depth(broker, queue, 0)

    async def test_messages_arrive_in_order(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inbox, _ = await site.inbox(broker, queue, prefetch=7)
        await publish(broker, queue, *numbered(100))
        for expected in numbered(100):
            delivery = await inbox.next()
            assert delivery.body == expected
            delivery.acknowledge()

    async def test_concurrent_publishers_lose_and_double_nothing(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inbox, _ = await site.inbox(broker, queue)
        senders = [await site.connect() for _ in range(4)]
        lots = [[b"%d.%d" % (sender, number) for number in range(50)] for sender in range(4)]
        await asyncio.gather(*(publish(sender, queue, *lot) for sender, lot in zip(senders, lots, strict=True)))
        for _ in range(200):
            (await inbox.next()).acknowledge()
        assert sorted(inbox.bodies()) == sorted(body for lot in lots for body in lot)
        for lot in lots:
            assert [body for body in inbox.bodies() if body in lot] == lot

    async def test_without_a_queue_nothing_is_taken(self, site: Site, broker: Broker) -> None:
        nowhere = site.name("nowhere")
        with pytest.raises(Unavailable):
            await broker.publish(nowhere, b"lost")
        with pytest.raises(Unavailable):
            await broker.consume(nowhere, Inbox(), 1)
        with pytest.raises(Unavailable):
            await broker.depth(nowhere)
        queue = await site.queue(broker)
        await broker.publish(queue, b"the connection still works")
        await until_depth(broker, queue, 1)

    async def test_declaring_again_changes_nothing(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker, site.spec("queue", ttl_s=60.0))
        await broker.publish(queue, b"kept")
        await site.queue(await site.connect(), site.spec("queue", ttl_s=60.0))
        await until_depth(broker, queue, 1)

    async def test_another_spec_for_the_same_queue_is_misuse(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker, site.spec("queue", ttl_s=60.0))
        with pytest.raises(Misuse):
            await broker.declare(site.spec("queue", ttl_s=61.0))
        await broker.publish(queue, b"the connection still works")
        await until_depth(broker, queue, 1)

    # -- prefetch, sharing, pausing

    async def test_prefetch_is_never_exceeded(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inbox, _ = await site.inbox(broker, queue, prefetch=3)
        await publish(broker, queue, *numbered(10))
        held = await inbox.take(3)
        await until_depth(broker, queue, 7)
        held.pop().acknowledge()
        held.append(await inbox.next())
        await until_depth(broker, queue, 6)
        assert len(inbox.all) == 4

    async def test_prefetch_below_one_is_misuse(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        with pytest.raises(Misuse):
            await broker.consume(queue, Inbox(), 0)

    async def test_a_slow_handler_does_not_hold_up_the_next(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        last_came = asyncio.Event()

        async def handler(delivery: Delivery) -> None:
            if delivery.body == b"last":
                last_came.set()
            await last_came.wait()
            delivery.acknowledge()

        await broker.consume(queue, handler, 2)
        await publish(broker, queue, b"first", b"last")
        async with asyncio.timeout(PATIENCE_S):
            await last_came.wait()

    async def test_consumers_share_a_queue(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inboxes = [(await site.inbox(await site.connect(), queue, prefetch=2))[0] for _ in range(3)]
        await publish(broker, queue, *numbered(6))
        await until(lambda: sum(len(inbox.all) for inbox in inboxes) == 6)
        assert [len(inbox.all) for inbox in inboxes] == [2, 2, 2]
        assert sorted(body for inbox in inboxes for body in inbox.bodies()) == numbered(6)

    async def test_a_paused_consumer_gets_nothing_until_it_resumes(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inbox, subscription = await site.inbox(broker, queue, prefetch=1)
        await broker.publish(queue, b"in hand")
        delivery = await inbox.next()
        subscription.pause()
        await publish(broker, queue, b"later")
        delivery.acknowledge()
        await self._pass_through(site, broker)
        assert await broker.depth(queue) == 1
        assert len(inbox.all) == 1
        subscription.resume()
        assert (await inbox.next()).body == b"later"

    async def test_others_get_what_a_paused_consumer_does_not(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        paused, subscription = await site.inbox(broker, queue)
        await broker.publish(queue, b"in hand")
        await paused.next()
        subscription.pause()
        await self._pass_through(site, broker)
        other, _ = await site.inbox(await site.connect(), queue)
        await publish(broker, queue, *numbered(5))
        await other.take(5)
        assert len(paused.all) == 1

    # -- settling

    async def test_acknowledged_is_gone(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        connection = await site.connect()
        inbox, _ = await site.inbox(connection, queue)
        await publish(broker, queue, b"done", b"kept")
        done, _ = await inbox.take(2)
        done.acknowledge()
        await self._pass_through(site, connection)
        await connection.stop()
        await until_depth(broker, queue, 1)
        again, _ = await site.inbox(broker, queue)
        assert (await again.next()).body == b"kept"

    async def test_given_back_comes_again_and_says_so(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inbox, _ = await site.inbox(broker, queue, prefetch=1)
        await broker.publish(queue, b"try")
        (await inbox.next()).give_back()
        again = await inbox.next()
        assert (again.body, again.redelivered) == (b"try", True)

    async def test_settling_twice_does_nothing(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inbox, _ = await site.inbox(broker, queue)
        await broker.publish(queue, b"once")
        delivery = await inbox.next()
        delivery.acknowledge()
        delivery.acknowledge()
        delivery.give_back()
        await broker.publish(queue, b"next")
        assert (await inbox.next()).body == b"next"
        await until_depth(broker, queue, 0)
        assert len(inbox.all) == 2

    async def test_settling_an_earlier_try_does_not_settle_the_later_one(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        connection = await site.connect()
        inbox, _ = await site.inbox(connection, queue)
        await broker.publish(queue, b"try")
        early = await inbox.next()
        early.give_back()
        await inbox.next()
        early.acknowledge()
        await self._pass_through(site, connection)
        await connection.stop()
        await until_depth(broker, queue, 1)

    async def test_a_handler_that_raises_gives_back_and_is_logged_once(
        self, site: Site, broker: Broker, caplog: pytest.LogCaptureFixture
    ) -> None:
        queue = await site.queue(broker)
        tries: list[bool] = []

        async def handler(delivery: Delivery) -> None:
            tries.append(delivery.redelivered)
            if not delivery.redelivered:
                raise ValueError("broken handler")
            delivery.acknowledge()

        with caplog.at_level(logging.ERROR):
            await broker.consume(queue, handler, 1)
            await broker.publish(queue, b"poison")
            await until(lambda: len(tries) == 2)
        assert tries == [False, True]
        assert len([record for record in caplog.records if record.exc_info]) == 1

    async def test_cancel_gives_unsettled_messages_to_another_consumer(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inbox, subscription = await site.inbox(broker, queue)
        await publish(broker, queue, *numbered(3))
        first, _, _ = await inbox.take(3)
        first.acknowledge()
        other, _ = await site.inbox(await site.connect(), queue)
        await subscription.cancel()
        await subscription.cancel()
        returned = await other.take(2)
        assert sorted(delivery.body for delivery in returned) == [b"1", b"2"]
        assert all(delivery.redelivered for delivery in returned)
        await publish(broker, queue, b"more")
        assert (await other.next()).body == b"more"
        assert len(inbox.all) == 3

    async def test_settling_after_cancel_does_nothing(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        inbox, subscription = await site.inbox(broker, queue)
        await broker.publish(queue, b"whose")
        late = await inbox.next()
        await subscription.cancel()
        await until_depth(broker, queue, 1)
        late.acknowledge()
        other, _ = await site.inbox(await site.connect(), queue)
        assert (await other.next()).body == b"whose"

    async def test_stop_returns_its_own_unsettled_messages_only(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        dying, staying = await site.connect(), await site.connect()
        lost, _ = await site.inbox(dying, queue, prefetch=2)
        kept, _ = await site.inbox(staying, queue, prefetch=2)
        await publish(broker, queue, *numbered(4))
        await lost.take(2)
        await kept.take(2)
        await dying.stop()
        await until_depth(broker, queue, 2)
        heir, _ = await site.inbox(broker, queue)
        assert sorted(delivery.body for delivery in await heir.take(2)) == sorted(lost.bodies())
        assert len(kept.all) == 2

    async def test_stop_cancels_handlers_that_run(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        connection = await site.connect()
        started, ended = asyncio.Event(), asyncio.Event()

        async def handler(_: Delivery) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        await connection.consume(queue, handler, 1)
        await broker.publish(queue, b"endless")
        async with asyncio.timeout(PATIENCE_S):
            await started.wait()
        await connection.stop()
        assert ended.is_set()
        await until_depth(broker, queue, 1)

    async def test_a_stopped_connection_is_unavailable_and_stops_twice(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker)
        connection = await site.connect()
        await connection.stop()
        await connection.stop()
        with pytest.raises(Unavailable):
            await connection.publish(queue, b"lost")
        await connection.broadcast(site.name("fanout"), b"nobody hears")
        assert await broker.depth(queue) == 0

    # -- full, old, poisonous, unused

    async def test_a_full_queue_refuses_until_there_is_room(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker, site.spec("queue", max_length=5))
        taken = 0
        while await self._is_taken(broker, queue, b"more"):
            taken += 1
            assert taken < 200, "the bound means nothing"
        assert taken >= 5
        inbox, _ = await site.inbox(broker, queue)
        for _ in range(taken):
            (await inbox.next()).acknowledge()
        await until(lambda: self._is_taken(broker, queue, b"room again"))
        while (await inbox.next()).body != b"room again":
            pass  # an engine may have taken a message that it refused

    async def test_a_message_that_nobody_takes_in_time_becomes_a_dead_letter(self, site: Site, broker: Broker) -> None:
        dead = await site.queue(broker, site.spec("dead"))
        queue = await site.queue(broker, site.spec("queue", ttl_s=SOON_S, dead_letters="dead"))
        inbox, _ = await site.inbox(broker, dead)
        await publish(broker, queue, *numbered(3))
        for expected in numbered(3):
            letter = await inbox.next()
            assert (letter.body, letter.queue, letter.died_in) == (expected, dead, queue)
            letter.acknowledge()
        await until_depth(broker, queue, 0)

    async def test_without_dead_letters_an_old_message_vanishes(self, site: Site, broker: Broker) -> None:
        queue = await site.queue(broker, site.spec("queue", ttl_s=SOON_S))
        await broker.publish(queue, b"old")
        await until_depth(broker, queue, 0)
        inbox, _ = await site.inbox(broker, queue)
        await broker.publish(queue, b"young")
        assert (await inbox.next()).body == b"young"

    async def test_a_message_in_hand_does_not_grow_old(self, site: Site, broker: Broker) -> None:
        dead = await site.queue(broker, site.spec("dead"))
        queue = await site.queue(broker, site.spec("queue", ttl_s=SOON_S, dead_letters="dead"))
        inbox, _ = await site.inbox(broker, queue, prefetch=1)
        letters, _ = await site.inbox(broker, dead)
        await publish(broker, queue, b"in hand", b"waiting")
        in_hand = await inbox.next()
        assert (await letters.next()).body == b"waiting"
        in_hand.acknowledge()
        await self._pass_through(site, broker)
        assert letters.bodies() == [b"waiting"]

    async def test_three_deliveries_and_then_the_dead_letters(self, site: Site, broker: Broker) -> None:
        dead = await site.queue(broker, site.spec("dead"))
        queue = await site.queue(broker, site.spec("queue", delivery_limit=2, dead_letters="dead"))
        inbox, _ = await site.inbox(broker, queue, prefetch=1)
        letters, _ = await site.inbox(broker, dead)
        await broker.publish(queue, b"poison")
        for attempt in range(3):
            delivery = await inbox.next()
            assert delivery.redelivered is (attempt > 0)
            delivery.give_back()
        letter = await letters.next()
        assert (letter.body, letter.died_in) == (b"poison", queue)
        assert len(inbox.all) == 3

    async def test_lost_consumers_count_against_the_delivery_limit(self, site: Site, broker: Broker) -> None:
        dead = await site.queue(broker, site.spec("dead"))
        queue = await site.queue(broker, site.spec("queue", delivery_limit=1, dead_letters="dead"))
        letters, _ = await site.inbox(broker, dead)
        await broker.publish(queue, b"killer")
        for _ in range(2):
            victim = await site.connect()
            inbox, _ = await site.inbox(victim, queue)
            await inbox.next()
            await victim.stop()
        assert (await letters.next()).died_in == queue

    async def test_a_queue_without_a_consumer_goes_away(self, site: Site, broker: Broker) -> None:
        used = await site.queue(broker, site.spec("used", expires_s=LATER_S))
        inbox, subscription = await site.inbox(broker, used)
        left = await site.queue(broker, site.spec("left", expires_s=LATER_S))
        await until(lambda: self._is_gone(broker, left))
        await broker.publish(used, b"still here")
        assert (await inbox.next()).body == b"still here"
        await subscription.cancel()
        await until(lambda: self._is_gone(broker, used))
        await site.queue(broker, site.spec("used", expires_s=LATER_S))
        assert await broker.depth(used) == 0

    # -- fanouts

    async def test_a_broadcast_reaches_everybody_who_listens(self, site: Site, broker: Broker) -> None:
        fanout, other = site.name("fanout"), site.name("other")
        heard: list[list[bytes]] = [[], [], []]
        await broker.listen(fanout, heard[0].append)
        away = await (await site.connect()).listen(fanout, heard[1].append)
        await broker.listen(other, heard[2].append)
        await broker.broadcast(fanout, b"both")
        await until(lambda: heard[:2] == [[b"both"], [b"both"]])
        await away.cancel()
        await away.cancel()
        await broker.broadcast(fanout, b"one")
        await broker.broadcast(other, b"the other fanout")
        await until(lambda: heard == [[b"both", b"one"], [b"both"], [b"the other fanout"]])

    async def test_a_broadcast_that_nobody_hears_is_lost(self, site: Site, broker: Broker) -> None:
        fanout = site.name("fanout")
        await broker.broadcast(fanout, b"too early")
        heard: list[bytes] = []
        await broker.listen(fanout, heard.append)
        await broker.broadcast(fanout, b"in time")
        await until(lambda: heard == [b"in time"])

    async def test_a_listener_that_raises_harms_nobody(
        self, site: Site, broker: Broker, caplog: pytest.LogCaptureFixture
    ) -> None:
        fanout = site.name("fanout")
        heard: list[bytes] = []

        def broken(body: bytes) -> None:
            raise ValueError("broken listener")

        with caplog.at_level(logging.ERROR):
            await broker.listen(fanout, broken)
            await broker.listen(fanout, heard.append)
            await broker.broadcast(fanout, b"first")
            await broker.broadcast(fanout, b"second")
            await until(lambda: heard == [b"first", b"second"])
            await until(lambda: len([record for record in caplog.records if record.exc_info]) == 2)

    # -- what the tests ask repeatedly

    @staticmethod
    async def _is_taken(broker: Broker, queue: str, body: bytes) -> bool:
        try:
            await broker.publish(queue, body)
        except Unavailable:
            return False
        return True

    @classmethod
    async def _is_gone(cls, broker: Broker, queue: str) -> bool:
        return not await cls._is_taken(broker, queue, b"anybody there?")

    @staticmethod
    async def _pass_through(site: Site, broker: Broker) -> None:
        """A message goes to a queue of its own and comes back: what the broker was told before, it has done."""
        queue = await site.queue(broker, site.spec(f"barrier.{uuid4().hex[:8]}", expires_s=60.0))
        inbox, subscription = await site.inbox(broker, queue)
        for _ in range(2):
            await broker.publish(queue, b"barrier")
            (await inbox.next()).acknowledge()
        await subscription.cancel()
