"""The broker port: delivery at least once, in order for each queue until a redelivery.

Each service declares the queues that it uses, from the specifications of one table (`roost.backend.broker.topology`),
so that two services can never disagree about a queue. Bodies are bytes, which the broker does not interpret.
`tests/backend/broker/contract_broker.py` tests these promises with every engine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from roost.wire.errors import Misuse

BROKER = "the broker"
"""`Unavailable.what` when the broker itself is unavailable; otherwise it names the queue that takes no message."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """The properties of a queue. Raises Misuse when a limit is not positive.

    `max_length`: while about this many messages wait, publishing raises Unavailable; an engine may take a few more.
    `ttl_s`: a message that no consumer took for this long dies; a message that a consumer holds does not.
    `delivery_limit`: a message is delivered at most once plus this many times; when it comes back after that, for any
    reason, it dies. `dead_letters`: the queue to which dead messages go; it is declared before this one and never
    refuses them. Without it, dead messages are dropped. `expires_s`: the queue is deleted with its messages after this
    long without a consumer. `durable`: confirmed messages survive a restart of the broker, if the engine can do that.
    """

    name: str
    durable: bool = True
    max_length: int | None = None
    ttl_s: float | None = None
    delivery_limit: int | None = None
    dead_letters: str | None = None
    expires_s: float | None = None

    def __post_init__(self) -> None:
        bounds = (self.max_length, self.ttl_s, self.expires_s)
        if not self.name or any(bound is not None and not bound > 0 for bound in bounds):
            raise Misuse(f"a queue needs a name and positive bounds: {self}")
        if self.delivery_limit is not None and self.delivery_limit < 0:
            raise Misuse(f"a delivery limit cannot be negative: {self}")


class Delivery(Protocol):
    """One message that a consumer holds until it is settled. Settling it twice, or too late, does nothing."""

    @property
    def body(self) -> bytes:
        """The body as it was published."""

    @property
    def queue(self) -> str:
        """The queue from which it was delivered."""

    @property
    def died_in(self) -> str | None:
        """For a dead letter, the queue in which it died; None for any other message."""

    @property
    def redelivered(self) -> bool:
        """Whether a consumer of this queue may have received it before."""

    def acknowledge(self) -> None:
        """Settle the message. This is not confirmed: if the acknowledgement is lost, it is delivered again."""

    def give_back(self) -> None:
        """Return the message to the queue for immediate redelivery, perhaps to the same consumer.

        This counts against the delivery limit.
        """


Handler = Callable[[Delivery], Awaitable[None]]


class Subscription(Protocol):
    """A running consumer or listener."""

    def pause(self) -> None:
        """Take no further messages until `resume`. Messages already held stay, and may still reach the handler."""

    def resume(self) -> None:
        """Take messages again."""

    async def cancel(self) -> None:
        """Take no further messages. Unsettled ones go back to the queue for other consumers.

        No handler starts afterwards. Running handlers continue, but settling has no effect any more. It may be called
        twice.
        """


class Broker(Protocol):
    """Named queues and fanouts, through one connection of one service. Call `start` before any other method."""

    async def start(self) -> None:
        """Connect. Raises Unavailable."""

    async def declare(self, spec: QueueSpec) -> None:
        """Create the queue unless it exists. Raises Unavailable, or Misuse when it exists with another spec."""

    async def publish(self, queue: str, body: bytes) -> None:
        """Publish a message. When this returns, the broker has it, durably if the queue is durable.

        Raises Unavailable when there is no such queue, when it is full, or when the broker is unavailable. The message
        may have been taken nevertheless, so that publishing it again may deliver it twice.
        """

    async def consume(self, queue: str, handler: Handler, prefetch: int) -> Subscription:
        """Call `handler` with each message, in order, at most `prefetch` (1 or more) unsettled at a time.

        Handlers run concurrently: the next one starts before the last one has ended. Each delivery must be settled, by
        its handler or later; a handler that raises gives it back. The consumers of a queue share its messages; each
        one that holds fewer than `prefetch` gets some. Raises Unavailable when there is no such queue, and Misuse for a
        prefetch below 1.
        """

    async def broadcast(self, fanout: str, body: bytes) -> None:
        """Send to all current listeners, each at most once. Does not raise for an outage: the message is then lost."""

    async def listen(self, fanout: str, handler: Callable[[bytes], None]) -> Subscription:
        """Call `handler` with every broadcast from now on. Broadcasts during a pause may be missed."""

    async def depth(self, queue: str) -> int:
        """Return how many messages wait for a consumer. Raises Unavailable."""

    async def stop(self) -> None:
        """Cancel the consumers of this connection and disconnect.

        Its unsettled messages go back to their queues, and its running handlers are cancelled. It may be called twice.
        """
