"""One embedded queue, pure: who waits, who holds what, and what dies when.

A message has a number, its number in the order of arrival. Messages leave from the front, so one that comes back
stands before all that never left: the waiting line is a heap of returned messages followed by a deque of fresh
ones. Every message lives equally long, so that line is in order of death too, and only its head can be due.

Consumers with room stand in a ring: the first one gets the next message and, with room left, goes to the end.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from roost.backend.broker.port import QueueSpec


@dataclass(slots=True, order=True)
class Message:
    """A message in a queue. `dies_at` is monotonic seconds; `returns` counts how often consumers lost it."""

    number: int
    dies_at: float = field(compare=False)
    body: bytes = field(compare=False)
    died_in: str | None = field(compare=False)
    returns: int = field(default=0, compare=False)


@dataclass(slots=True, eq=False)
class Consumer:
    """Somebody who takes messages from `queue`, at most `prefetch` at a time; `held` are those in hand."""

    queue: Queue
    prefetch: int
    held: set[Handover] = field(default_factory=set)
    paused: bool = False
    in_ring: bool = False
    gone: bool = False

    def has_capacity(self) -> bool:
        return len(self.held) < self.prefetch and not self.paused and not self.gone


@dataclass(frozen=True, slots=True, eq=False)
class Handover:
    """Effect: this message is now in this consumer's hands. Another try of the same message is another handover."""

    consumer: Consumer
    message: Message
    redelivered: bool

    def is_unsettled(self) -> bool:
        return self in self.consumer.held


class Queue:
    """The messages and consumers of one queue. `now` is monotonic seconds and never goes back."""

    def __init__(self, spec: QueueSpec, now: float) -> None:
        self.spec = spec
        self._numbers = count()
        self._fresh: deque[Message] = deque()
        self._returned: list[Message] = []
        self._consumers: set[Consumer] = set()
        self._ring: deque[Consumer] = deque()
        self._unused_since = now

    def depth(self) -> int:
        return len(self._fresh) + len(self._returned)

    def is_full(self) -> bool:
        return self.spec.max_length is not None and self.depth() >= self.spec.max_length

    def put(self, body: bytes, died_in: str | None, now: float) -> None:
        """Add a message at the end, full or not."""
        dies_at = math.inf if self.spec.ttl_s is None else now + self.spec.ttl_s
        self._fresh.append(Message(next(self._numbers), dies_at, body, died_in))

    def add_consumer(self, prefetch: int) -> Consumer:
        consumer = Consumer(self, prefetch)
        self._consumers.add(consumer)
        self.make_ready(consumer)
        return consumer

    def make_ready(self, consumer: Consumer) -> None:
        """Put the consumer into the ring when it has room and is not there yet."""
        if consumer.has_capacity() and not consumer.in_ring:
            consumer.in_ring = True
            self._ring.append(consumer)

    def remove_consumer(self, consumer: Consumer, now: float) -> list[Message]:
        """Take back what it holds; those that died of it are returned."""
        consumer.gone = True
        self._consumers.discard(consumer)
        self._unused_since = now
        if consumer.in_ring:
            self._ring.remove(consumer)
        held = sorted(consumer.held, key=lambda handover: handover.message.number)
        return [message for handover in held if (message := self.take_back(handover))]

    def acknowledge(self, handover: Handover) -> None:
        """Forget the message, when it is still in that consumer's hands."""
        self._remove_held(handover)

    def take_back(self, handover: Handover) -> Message | None:
        """The message waits again, when it is still in that consumer's hands; returned when its limit kills it."""
        if not handover.is_unsettled():
            return None
        self._remove_held(handover)
        message = handover.message
        message.returns += 1
        if self.spec.delivery_limit is not None and message.returns > self.spec.delivery_limit:
            return message
        heapq.heappush(self._returned, message)
        return None

    def _remove_held(self, handover: Handover) -> None:
        handover.consumer.held.discard(handover)
        self.make_ready(handover.consumer)

    def hand_out(self) -> list[Handover]:
        """Give waiting messages to consumers with room, in turn."""
        handovers = []
        while self._ring and self.depth():
            consumer = self._ring.popleft()
            consumer.in_ring = False
            if consumer.has_capacity():
                message = heapq.heappop(self._returned) if self._returned else self._fresh.popleft()
                handover = Handover(consumer, message, redelivered=message.returns > 0)
                consumer.held.add(handover)
                handovers.append(handover)
                self.make_ready(consumer)
        return handovers

    def remove_expired(self, now: float) -> list[Message]:
        """Take out the waiting messages whose time is over."""
        dead = []
        while self._returned and self._returned[0].dies_at <= now:
            dead.append(heapq.heappop(self._returned))
        while self._fresh and self._fresh[0].dies_at <= now:
            dead.append(self._fresh.popleft())
        return dead

    def renew(self, now: float) -> None:
        """Somebody showed interest: the time without a consumer starts anew."""
        self._unused_since = now

    def expires_at(self) -> float:
        """When the queue itself goes away, should no consumer come."""
        if self.spec.expires_s is None or self._consumers:
            return math.inf
        return self._unused_since + self.spec.expires_s

    def due_at(self) -> float:
        """When the next thing happens by itself: a message's death or the queue's."""
        heads = [line[0].dies_at for line in (self._returned, self._fresh) if line]
        return min(self.expires_at(), *heads, math.inf)
