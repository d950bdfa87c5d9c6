"""The broker port: at least once, in order per queue until redelivery.

Queues are declared by whoever uses them, from the specs of one table (`backend.broker.topology`), so that
two parts can never disagree about one. Bodies are bytes; nothing else of a message means anything to the
broker, except its name (for logs) and its time to live.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """What a queue is.

    `max_length`: publishing to a full queue is refused (Unavailable). `ttl_s`: a message not taken in time dies.
    `delivery_limit`: returned or lost that often after its first delivery, a message dies. `dead_letters`: the
    queue that dead messages go to; without one they vanish. `expires_s`: the queue itself goes away after so
    long without a consumer.
    """

    name: str
    durable: bool = True
    max_length: int | None = None
    ttl_s: float | None = None
    delivery_limit: int | None = None
    dead_letters: str | None = None
    expires_s: float | None = None


class Delivery(Protocol):
    """One message in the hands of a consumer, until it is settled. Settling twice, or late, does nothing."""

    body: bytes
    queue: str
    """The queue it was taken from; for a dead letter, the queue it died in is `died_in`."""
    died_in: str | None
    redelivered: bool

    def acknowledge(self) -> None:
        """Done with it. Not confirmed: a lost acknowledgement means another delivery."""

    def give_back(self) -> None:
        """Somebody else should have it; counts against the delivery limit."""


Handler = Callable[[Delivery], Awaitable[None]]


class Subscription(Protocol):
    """A running consumer."""

    def pause(self) -> None:
        """Take no further messages until `resume`; those in hand stay."""

    def resume(self) -> None:
        """Take messages again."""

    async def cancel(self) -> None:
        """Take no further messages; unsettled ones go back to the queue, and another consumer gets them."""


class Broker(Protocol):
    """Named queues and fanouts."""

    async def start(self) -> None:
        """Connect. Raises Unavailable."""

    async def declare(self, spec: QueueSpec) -> None:
        """The queue exists, with this spec. Raises Misuse when it exists with another, Unavailable."""

    async def publish(self, queue: str, body: bytes) -> None:
        """The broker has the message, durably on a durable queue, when this returns.

        Raises Unavailable: no such queue, queue full, or the broker is away; the message may still have
        been taken, so publishing again may double it.
        """

    async def consume(self, queue: str, handler: Handler, prefetch: int) -> Subscription:
        """Call `handler` with each message, at most `prefetch` unsettled at a time.

        The handler must settle every delivery, at once or later; one that raises gives it back.
        Raises Unavailable when there is no such queue.
        """

    async def broadcast(self, fanout: str, body: bytes) -> None:
        """Everybody who listens right now gets it, at most once. Never raises for an outage."""

    async def listen(self, fanout: str, handler: Callable[[bytes], None]) -> Subscription:
        """Call `handler` with every broadcast from now on."""

    async def depth(self, queue: str) -> int:
        """Messages that wait for a consumer. Raises Unavailable."""

    async def stop(self) -> None:
        """Cancel the consumers and disconnect; unsettled messages go back. Fine to call twice."""
