"""All embedded queues together, pure: dead letters move between them, and one time says when to look again.

Whoever calls any method at `now` has called `pass_time(now)` before, so that nothing overdue is handed out. Methods
return the handovers that follow; nothing waits while a consumer of its queue has room.
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
        """Call `pass_time` no later than this; may be earlier than needed, never later."""

    def pass_time(self, now: float) -> list[Handover]:
        """Bury what died and drop the queues that nobody used; cheap while nothing is due."""
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
        """Raises Misuse: another spec has this name, or its dead letters have nowhere to go."""
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
        """Raises Unavailable: no such queue, or full."""
        queue = self._find(name)
        if queue.is_full():
            raise Unavailable(f"queue {name}", "it is full")
        queue.put(body, None, now)
        return self._hand_out(queue)

    def add_consumer(self, name: str, prefetch: int) -> tuple[Consumer, list[Handover]]:
        """Raises Unavailable: no such queue. Misuse: prefetch below 1."""
        if prefetch < 1:
            raise Misuse(f"a consumer of {name} with prefetch {prefetch} would get nothing")
        queue = self._find(name)
        return queue.add_consumer(prefetch), self._hand_out(queue)

    def remove_consumer(self, consumer: Consumer, now: float) -> list[Handover]:
        """What it holds goes back; nothing for a consumer that is gone already."""
        if consumer.gone:
            return []
        queue = consumer.queue
        handovers = self._dead_letters(queue, queue.remove_consumer(consumer, now), now)
        return handovers + self._after_return(queue, now)

    def pause(self, consumer: Consumer) -> None:
        """Hand it nothing from now on."""
        consumer.paused = True

    def resume(self, consumer: Consumer) -> list[Handover]:
        """Hand it messages again."""
        consumer.paused = False
        consumer.queue.make_ready(consumer)
        return self._hand_out(consumer.queue)

    def acknowledge(self, handover: Handover) -> list[Handover]:
        """The message is done with, when it is still in that consumer's hands."""
        queue = handover.consumer.queue
        queue.acknowledge(handover)
        return self._hand_out(queue)

    def give_back(self, handover: Handover, now: float) -> list[Handover]:
        """The message waits again or dies, when it is still in that consumer's hands."""
        queue = handover.consumer.queue
        dead = queue.take_back(handover)
        handovers = self._dead_letters(queue, [dead] if dead else [], now)
        return handovers + self._after_return(queue, now)

    def depth(self, name: str) -> int:
        """Messages that wait. Raises Unavailable: no such queue."""
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
        """A message may have outlived its time in somebody's hands: it dies before anybody gets it again."""
        return self._dead_letters(queue, queue.remove_expired(now), now) + self._hand_out(queue)

    def _hand_out(self, queue: Queue) -> list[Handover]:
        handovers = queue.hand_out()
        self._note_due(queue)
        return handovers

    def _note_due(self, queue: Queue) -> None:
        self.due_at = min(self.due_at, queue.due_at())
