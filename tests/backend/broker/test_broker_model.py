"""The embedded queues against a model of plain lists, over any order of events (hypothesis)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from roost.backend.broker.memory.queue import Consumer, Handover
from roost.backend.broker.memory.queues import Queues
from roost.backend.broker.port import QueueSpec
from roost.wire.errors import Unavailable

pytestmark = pytest.mark.slow

DEAD = QueueSpec("dead")
WORK = QueueSpec("work", max_length=4, ttl_s=10.0, delivery_limit=2, dead_letters="dead")
PLAIN = QueueSpec("plain")
FLEETING = QueueSpec("fleeting", ttl_s=50.0, expires_s=20.0)
SPECS = {spec.name: spec for spec in (DEAD, WORK, PLAIN, FLEETING)}
NAMES = st.sampled_from(sorted(SPECS))


@dataclass
class Entry:
    """A message as the model sees it."""

    place: int
    body: bytes
    dies_at: float | None
    died_in: str | None = None
    returns: int = 0


@dataclass
class Line:
    """A queue as the model sees it: who waits, and since when nobody consumes."""

    waiting: list[Entry] = field(default_factory=list)
    consumers: set[Consumer] = field(default_factory=set)
    unused_since: float = 0.0


class QueuesAgainstModel(RuleBasedStateMachine):
    consumers = Bundle("consumers")
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.queues = Queues()
        self.now = 100.0
        self.serial = count()
        self.lines: dict[str, Line] = {}
        self.hands: dict[Handover, Entry] = {}
        self.acknowledged: set[bytes] = set()
        self.vanished: set[bytes] = set()
        self.confirmed: set[bytes] = set()
        for spec in SPECS.values():
            self.queues.declare(spec, self.now)
            self.lines[spec.name] = Line(unused_since=self.now)

    # -- events

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 10.0, 25.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        handovers = self.queues.pass_time(self.now)
        for name, line in list(self.lines.items()):
            expires_s = SPECS[name].expires_s
            if expires_s is not None and not line.consumers and self.now >= line.unused_since + expires_s:
                self.vanished |= {entry.body for entry in line.waiting}
                del self.lines[name]
        self.bury()
        self.check_handovers(handovers)

    @rule(name=NAMES)
    def declare(self, name: str) -> None:
        self.queues.declare(SPECS[name], self.now)
        self.lines.setdefault(name, Line()).unused_since = self.now

    @rule(name=NAMES)
    def publish(self, name: str) -> None:
        body = b"%d" % next(self.serial)
        line, limit = self.lines.get(name), SPECS[name].max_length
        if line is None or (limit is not None and len(line.waiting) >= limit):
            with pytest.raises(Unavailable):
                self.queues.publish(name, body, self.now)
            return
        handovers = self.queues.publish(name, body, self.now)
        self.confirmed.add(body)
        self.append(name, body, None)
        self.check_handovers(handovers)

    @rule(target=consumers, name=NAMES, prefetch=st.integers(1, 3))
    def consume(self, name: str, prefetch: int) -> object:
        if name not in self.lines:
            with pytest.raises(Unavailable):
                self.queues.add_consumer(name, prefetch)
            return multiple()
        consumer, handovers = self.queues.add_consumer(name, prefetch)
        self.lines[name].consumers.add(consumer)
        self.check_handovers(handovers)
        return consumer

    @rule(consumer=consumes(consumers))
    def cancel(self, consumer: Consumer) -> None:
        name = consumer.queue.spec.name
        mine = [handover for handover in self.hands if handover.consumer is consumer]
        handovers = self.queues.remove_consumer(consumer, self.now)
        self.lines[name].consumers.discard(consumer)
        self.lines[name].unused_since = self.now
        for handover in sorted(mine, key=lambda handover: self.hands[handover].place):
            self.back(name, self.hands.pop(handover))
        self.bury()
        self.check_handovers(handovers)
        assert self.queues.remove_consumer(consumer, self.now) == []

    @rule(consumer=consumers)
    def pause(self, consumer: Consumer) -> None:
        self.queues.pause(consumer)

    @rule(consumer=consumers)
    def resume(self, consumer: Consumer) -> None:
        self.check_handovers(self.queues.resume(consumer))

    @rule(data=st.data(), twice=st.booleans())
    def acknowledge(self, data: st.DataObject, twice: bool) -> None:
        if not self.hands:
            return
        handover = self.pick(data)
        self.acknowledged.add(self.hands.pop(handover).body)
        self.check_handovers(self.queues.acknowledge(handover))
        if twice:
            assert self.queues.acknowledge(handover) == self.queues.give_back(handover, self.now) == []

    @rule(data=st.data(), twice=st.booleans())
    def give_back(self, data: st.DataObject, twice: bool) -> None:
        if not self.hands:
            return
        handover = self.pick(data)
        handovers = self.queues.give_back(handover, self.now)
        self.back(handover.consumer.queue.spec.name, self.hands.pop(handover))
        self.bury()
        self.check_handovers(handovers)
        if twice:
            assert self.queues.give_back(handover, self.now) == self.queues.acknowledge(handover) == []

    # -- what must hold after each of them

    @invariant()
    def prefetch_is_never_exceeded(self) -> None:
        for line in self.lines.values():
            for consumer in line.consumers:
                held = [handover for handover in self.hands if handover.consumer is consumer]
                assert len(held) <= consumer.prefetch
                assert consumer.held == set(held)

    @invariant()
    def nothing_waits_while_a_consumer_has_room(self) -> None:
        for line in self.lines.values():
            assert not line.waiting or not any(consumer.has_capacity() for consumer in line.consumers)

    @invariant()
    def nothing_confirmed_is_lost_or_doubled(self) -> None:
        waiting = [entry.body for line in self.lines.values() for entry in line.waiting]
        held = [entry.body for entry in self.hands.values()]
        assert sorted([*waiting, *held, *self.acknowledged, *self.vanished]) == sorted(self.confirmed)
        assert {name: self.queues.depth(name) for name in self.lines} == {
            name: len(line.waiting) for name, line in self.lines.items()
        }

    @invariant()
    def the_alarm_is_never_late(self) -> None:
        deaths = [entry.dies_at for line in self.lines.values() for entry in line.waiting if entry.dies_at is not None]
        for name, line in self.lines.items():
            expires_s = SPECS[name].expires_s
            if expires_s is not None and not line.consumers:
                deaths.append(line.unused_since + expires_s)
        assert all(self.queues.due_at <= death for death in deaths)

    # -- the model's own steps

    def append(self, name: str, body: bytes, died_in: str | None) -> None:
        ttl_s = SPECS[name].ttl_s
        dies_at = None if ttl_s is None else self.now + ttl_s
        self.lines[name].waiting.append(Entry(next(self.serial), body, dies_at, died_in))

    def back(self, name: str, entry: Entry) -> None:
        entry.returns += 1
        limit = SPECS[name].delivery_limit
        if limit is not None and entry.returns > limit:
            self.die(name, entry)
        else:
            self.lines[name].waiting.append(entry)
            self.lines[name].waiting.sort(key=lambda other: other.place)

    def bury(self) -> None:
        for name, line in self.lines.items():
            old = [entry for entry in line.waiting if entry.dies_at is not None and entry.dies_at <= self.now]
            line.waiting = [entry for entry in line.waiting if entry not in old]
            for entry in old:
                self.die(name, entry)

    def die(self, name: str, entry: Entry) -> None:
        if SPECS[name].dead_letters == "dead":
            self.append("dead", entry.body, name)
        else:
            self.vanished.add(entry.body)

    def check_handovers(self, handovers: list[Handover]) -> None:
        """Each is the first that waited, for a consumer of that queue that may have it."""
        for handover in handovers:
            line = self.lines[handover.consumer.queue.spec.name]
            entry = line.waiting.pop(0)
            assert handover.message.body == entry.body
            assert handover.message.died_in == entry.died_in
            assert handover.redelivered is (entry.returns > 0)
            assert handover.consumer in line.consumers
            assert not handover.consumer.paused
            self.hands[handover] = entry

    def pick(self, data: st.DataObject) -> Handover:
        return data.draw(st.sampled_from(sorted(self.hands, key=lambda handover: handover.message.body)))


TestQueuesAgainstModel = QueuesAgainstModel.TestCase
TestQueuesAgainstModel.settings = settings(max_examples=150, stateful_step_count=60)
