"""The broker port: at least once, in order per queue until redelivery.

Queues are declared by whoever uses them, from the specs of one table (`roost.backend.broker.topology`), so that
two parts can never disagree about one. Bodies are bytes; nothing else of a message means anything to the
broker. What is promised here is what `tests/backend/contract_broker.py` shows of every engine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from roost.wire.errors import Misuse

BROKER = "the broker"
"""What `Unavailable` names while the broker itself is away; otherwise it names the queue that takes no message."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """What a queue is. Raises Misuse when a bound is not positive.

    `max_length`: while about so many messages wait, publishing is refused (Unavailable); an engine may take a few
    more. `ttl_s`: a message that no consumer took for so long dies; one in a consumer's hands does not.
    `delivery_limit`: a message is given to consumers at most once plus so many times; when it comes back after
    that, for whatever reason, it dies. `dead_letters`: the queue that dead messages go to, declared before this
    one, never refusing them; without it they vanish. `expires_s`: the queue goes away, with all that is in it,
    after so long without a consumer. `durable`: confirmed messages outlive the broker's restart, where it can.
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
    """One message in the hands of a consumer, until it is settled. Settling twice, or late, does nothing."""

    @property
    def body(self) -> bytes:
        """What was published."""

    @property
    def queue(self) -> str:
        """The queue it was taken from."""

    @property
    def died_in(self) -> str | None:
        """For a dead letter, the queue it died in; None for any other message."""

    @property
    def redelivered(self) -> bool:
        """A consumer of this queue may have seen it before."""

    def acknowledge(self) -> None:
        """Done with it. Not confirmed: a lost acknowledgement means another delivery."""

    def give_back(self) -> None:
        """Somebody should have it again, perhaps the same consumer, at once; counts against the delivery limit."""


Handler = Callable[[Delivery], Awaitable[None]]


class Subscription(Protocol):
    """A running consumer or listener."""

    def pause(self) -> None:
        """Take no further messages until `resume`; those in hand stay, and may still reach the handler."""

    def resume(self) -> None:
        """Take messages again."""

    async def cancel(self) -> None:
        """Take no further messages; unsettled ones go back to the queue, and another consumer gets them.

        No handler starts afterwards; those that run go on, but what they settle no longer counts. Fine to call twice.
        """


class Broker(Protocol):
    """Named queues and fanouts, through one connection of one part. Every method but `start` needs `start` first."""

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
        """Call `handler` with each message, in order, at most `prefetch` (1 or more) unsettled at a time.

        Handlers run side by side: the next starts before the last has ended. Each delivery must be settled, by its
        handler or later; a handler that raises gives it back. Consumers of a queue share its messages, each with
        room getting some. Raises Unavailable when there is no such queue, Misuse for a prefetch below 1.
        """

    async def broadcast(self, fanout: str, body: bytes) -> None:
        """Everybody who listens right now gets it, at most once. Never raises for an outage."""

    async def listen(self, fanout: str, handler: Callable[[bytes], None]) -> Subscription:
        """Call `handler` with every broadcast from now on; those of a pause may be missed."""

    async def depth(self, queue: str) -> int:
        """Messages that wait for a consumer. Raises Unavailable."""

    async def stop(self) -> None:
        """Cancel this connection's consumers and disconnect: its unsettled messages go back, its handlers that still
        run are cancelled, other connections notice nothing else. Fine to call twice."""
