"""One embedded queue: its waiting messages, the messages that consumers hold, and when messages expire. Pure.

Each message is numbered in the order of arrival. Messages are delivered from the front, so a returned message comes
before all messages that were never delivered: the waiting messages are a heap of returned ones followed by a deque of
fresh ones. All messages have the same TTL, so both are also in the order of expiry, and only their heads can be due.

Consumers with free capacity are in a ring: the first one gets the next message and, if it can take more, moves to the
end.
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
    """A message in a queue. `dies_at` is monotonic seconds; `returns` counts how often consumers returned it."""

    number: int
    dies_at: float = field(compare=False)
    body: bytes = field(compare=False)
    died_in: str | None = field(compare=False)
    returns: int = field(default=0, compare=False)


@dataclass(slots=True, eq=False)
class Consumer:
    """A consumer of `queue` that holds at most `prefetch` messages at a time; `held` are its unsettled ones."""

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
    """Effect: this consumer now holds this message. A redelivery of the same message is another handover."""

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
        """Add a message at the end, even if the queue is full."""
        dies_at = math.inf if self.spec.ttl_s is None else now + self.spec.ttl_s
        self._fresh.append(Message(next(self._numbers), dies_at, body, died_in))

    def add_consumer(self, prefetch: int) -> Consumer:
        consumer = Consumer(self, prefetch)
        self._consumers.add(consumer)
        self.make_ready(consumer)
        return consumer

    def make_ready(self, consumer: Consumer) -> None:
        """Put the consumer into the ring if it can take a message and is not in the ring yet."""
        if consumer.has_capacity() and not consumer.in_ring:
            consumer.in_ring = True
            self._ring.append(consumer)

    def remove_consumer(self, consumer: Consumer, now: float) -> list[Message]:
        """Remove the consumer and take back its messages. Returns those that died by the delivery limit."""
        consumer.gone = True
        self._consumers.discard(consumer)
        self._unused_since = now
        if consumer.in_ring:
            self._ring.remove(consumer)
        held = sorted(consumer.held, key=lambda handover: handover.message.number)
        return [message for handover in held if (message := self.take_back(handover))]

    def acknowledge(self, handover: Handover) -> None:
        """Delete the message, if that consumer still holds it."""
        self._remove_held(handover)

    def take_back(self, handover: Handover) -> Message | None:
        """Let the message wait again, if that consumer still holds it. Returns it if it died by the delivery limit."""
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
        """Deliver waiting messages in turn to consumers with free capacity."""
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
        """Remove and return the waiting messages whose TTL has passed."""
        dead = []
        while self._returned and self._returned[0].dies_at <= now:
            dead.append(heapq.heappop(self._returned))
        while self._fresh and self._fresh[0].dies_at <= now:
            dead.append(self._fresh.popleft())
        return dead

    def renew(self, now: float) -> None:
        """Restart the time without a consumer, because the queue was declared again."""
        self._unused_since = now

    def expires_at(self) -> float:
        """Return when the queue itself expires if no consumer comes (monotonic seconds)."""
        if self.spec.expires_s is None or self._consumers:
            return math.inf
        return self._unused_since + self.spec.expires_s

    def due_at(self) -> float:
        """Return when the next message, or the queue itself, expires (monotonic seconds)."""
        heads = [line[0].dies_at for line in (self._returned, self._fresh) if line]
        return min(self.expires_at(), *heads, math.inf)
