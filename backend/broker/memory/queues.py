"""All embedded queues together: moves dead letters between them, and keeps the next time at which something expires.

Pure. Before any other method at time `now`, call `pass_time(now)`, so that no expired message is delivered. Methods
return the deliveries that follow from the call, as a list of `Handover`: the caller must carry them out. No message
waits while a consumer of its queue has free capacity.
"""

from __future__ import annotations

import math

from roost.backend.broker.memory.queue import Consumer, Handover, Message, Queue
from roost.backend.broker.port import QueueSpec
from roost.wire.errors import Misuse, Unavailable


class Queues:
    """Every queue of one broker. `now` is monotonic seconds and never goes back."""

    def __init__(self) -> None:
        self._queues: dict[str, Queue] = {}
        self.due_at = math.inf
        """Call `pass_time` no later than this time. It may be earlier than necessary, but never later."""

    def pass_time(self, now: float) -> list[Handover]:
        """Dead-letter expired messages and delete expired queues. Cheap while nothing is due."""
        handovers: list[Handover] = []
        while now >= self.due_at:
            for name, queue in list(self._queues.items()):
                if now >= queue.expires_at():
                    del self._queues[name]
                else:
                    handovers += self._dead_letters(queue, queue.remove_expired(now), now)
            self.due_at = min((queue.due_at() for queue in self._queues.values()), default=math.inf)
        return handovers

    def declare(self, spec: QueueSpec, now: float) -> None:
        """Create the queue unless it exists.

        Raises Misuse when it exists with another specification, or when its dead-letter queue does not exist.
        """
        queue = self._queues.get(spec.name)
        if queue is None:
            if spec.dead_letters is not None and spec.dead_letters not in self._queues:
                raise Misuse(f"declare {spec.dead_letters} before {spec.name}, whose dead letters it takes")
            queue = self._queues[spec.name] = Queue(spec, now)
        elif queue.spec != spec:
            raise Misuse(f"queue {spec.name} exists as {queue.spec}, not as {spec}")
        queue.renew(now)
        self._note_due(queue)

    def publish(self, name: str, body: bytes, now: float) -> list[Handover]:
        """Add a message. Raises Unavailable when there is no such queue or it is full."""
        queue = self._find(name)
        if queue.is_full():
            raise Unavailable(f"queue {name}", "it is full")
        queue.put(body, None, now)
        return self._hand_out(queue)

    def add_consumer(self, name: str, prefetch: int) -> tuple[Consumer, list[Handover]]:
        """Add a consumer. Raises Unavailable when there is no such queue, and Misuse for a prefetch below 1."""
        if prefetch < 1:
            raise Misuse(f"a consumer of {name} with prefetch {prefetch} would get nothing")
        queue = self._find(name)
        return queue.add_consumer(prefetch), self._hand_out(queue)

    def remove_consumer(self, consumer: Consumer, now: float) -> list[Handover]:
        """Remove a consumer; its messages go back. Does nothing for a consumer that was removed before."""
        if consumer.gone:
            return []
        queue = consumer.queue
        handovers = self._dead_letters(queue, queue.remove_consumer(consumer, now), now)
        return handovers + self._after_return(queue, now)

    def pause(self, consumer: Consumer) -> None:
        """Deliver nothing to the consumer from now on."""
        consumer.paused = True

    def resume(self, consumer: Consumer) -> list[Handover]:
        """Deliver messages to the consumer again."""
        consumer.paused = False
        consumer.queue.make_ready(consumer)
        return self._hand_out(consumer.queue)

    def acknowledge(self, handover: Handover) -> list[Handover]:
        """Delete the message, if that consumer still holds it."""
        queue = handover.consumer.queue
        queue.acknowledge(handover)
        return self._hand_out(queue)

    def give_back(self, handover: Handover, now: float) -> list[Handover]:
        """Let the message wait again, or dead-letter it, if that consumer still holds it."""
        queue = handover.consumer.queue
        dead = queue.take_back(handover)
        handovers = self._dead_letters(queue, [dead] if dead else [], now)
        return handovers + self._after_return(queue, now)

    def depth(self, name: str) -> int:
        """Return how many messages wait. Raises Unavailable when there is no such queue."""
        return self._find(name).depth()

    def _find(self, name: str) -> Queue:
        queue = self._queues.get(name)
        if queue is None:
            raise Unavailable(f"queue {name}", "it does not exist")
        return queue

    def _dead_letters(self, source: Queue, dead: list[Message], now: float) -> list[Handover]:
        target = self._queues.get(source.spec.dead_letters or "")
        if target is None or not dead:
            return []
        for message in dead:
            target.put(message.body, source.spec.name, now)
        return self._hand_out(target)

    def _after_return(self, queue: Queue, now: float) -> list[Handover]:
        """Remove messages that expired while they were held, then deliver."""
        return self._dead_letters(queue, queue.remove_expired(now), now) + self._hand_out(queue)

    def _hand_out(self, queue: Queue) -> list[Handover]:
        handovers = queue.hand_out()
        self._note_due(queue)
        return handovers

    def _note_due(self, queue: Queue) -> None:
        self.due_at = min(self.due_at, queue.due_at())
