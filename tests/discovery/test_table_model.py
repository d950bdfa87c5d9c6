"""The table against a model that is too simple to be wrong: any history of beats, tickets and time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from roost.discovery.core.component import LAG_WEIGHT, STRAINED_LAG_MS
from roost.discovery.core.table import INTERVAL_S, MISSED_BEATS, TICKET_S, Table
from tests.discovery.beats import make_beat

pytestmark = pytest.mark.slow

ADDRESSES = ["ws://a", "ws://b", "ws://c"]
ZONES = st.sampled_from(["north", "south"])


@dataclass
class ModelGateway:
    name: str
    address: str
    load: int
    capacity: int
    sequence: int
    heard: float
    zone: str
    draining: bool = False
    lag_ms: float = 0.0
    tickets: dict[bytes, float] = field(default_factory=dict)

    def has_room(self) -> bool:
        return not self.draining and self.load + len(self.tickets) < self.capacity

    def fullness(self) -> float:
        return (self.load + len(self.tickets)) / self.capacity

    def is_strained(self) -> bool:
        return self.lag_ms >= STRAINED_LAG_MS


class TableMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.table = Table(born=-TICKET_S)
        self.live: dict[str, ModelGateway] = {}
        self.serials = 0

    def settle(self) -> None:
        """What time alone does to the model."""
        for gateway in list(self.live.values()):
            if gateway.heard + MISSED_BEATS * INTERVAL_S <= self.now:
                del self.live[gateway.address]
            gateway.tickets = {serial: until for serial, until in gateway.tickets.items() if until > self.now}

    @rule(quarters=st.integers(1, 14))
    def time_passes(self, quarters: int) -> None:
        self.now += quarters / 4
        self.settle()

    @rule(address=st.sampled_from(ADDRESSES), load=st.integers(0, 8), capacity=st.integers(0, 8), zone=ZONES)
    def a_gateway_starts(self, address: str, load: int, capacity: int, zone: str) -> None:
        self.serials += 1
        new = ModelGateway(f"i{self.serials}", address, load, capacity, 1, self.now, zone)
        beat = make_beat(new.name, 1, load, capacity, address=address, labels={"zone": zone})
        assert self.table.beat(beat, self.now)
        self.live[address] = new

    @precondition(lambda self: self.live)
    @rule(
        data=st.data(),
        load=st.integers(0, 8),
        draining=st.booleans(),
        lag_ms=st.sampled_from([0.0, STRAINED_LAG_MS, 3 * STRAINED_LAG_MS]),
    )
    def a_gateway_beats(self, data: st.DataObject, load: int, draining: bool, lag_ms: float) -> None:
        gateway = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        redeemed = data.draw(
            st.lists(st.sampled_from(sorted(gateway.tickets)), unique=True) if gateway.tickets else st.just([])
        )
        gateway.load, gateway.draining, gateway.heard = load, draining, self.now
        gateway.lag_ms += (lag_ms - gateway.lag_ms) * LAG_WEIGHT
        gateway.sequence += data.draw(st.integers(1, 3))
        for serial in redeemed:
            del gateway.tickets[serial]
        beat = make_beat(
            gateway.name, gateway.sequence, load, gateway.capacity,
            address=gateway.address, draining=draining, redeemed=redeemed, lag_ms=lag_ms, labels={"zone": gateway.zone},
        )  # fmt: skip
        assert self.table.beat(beat, self.now)
        assert not self.table.beat(beat, self.now)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), back=st.integers(0, 3))
    def a_late_beat_arrives(self, data: st.DataObject, back: int) -> None:
        gateway = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        late = make_beat(
            gateway.name, gateway.sequence - back, 0, 10**6, address=gateway.address, redeemed=sorted(gateway.tickets)
        )
        assert not self.table.beat(late, self.now)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def a_ticket_is_used_at_an_alternate(self, data: st.DataObject) -> None:
        """Whoever holds the reservation loses it, and the one that was entered reports it."""
        entered = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        others = [serial for gateway in self.live.values() for serial in gateway.tickets if gateway is not entered]
        if not others:
            return
        serial = data.draw(st.sampled_from(sorted(others)))
        for gateway in self.live.values():
            gateway.tickets.pop(serial, None)
        entered.load, entered.sequence, entered.heard = entered.load + 1, entered.sequence + 1, self.now
        entered.lag_ms += (0.0 - entered.lag_ms) * LAG_WEIGHT
        beat = make_beat(
            entered.name, entered.sequence, entered.load, entered.capacity,
            address=entered.address, draining=entered.draining, redeemed=[serial], labels={"zone": entered.zone},
        )  # fmt: skip
        assert self.table.beat(beat, self.now)

    @rule(draw=st.floats(0, 1, exclude_max=True), count=st.integers(1, 4), zone=st.one_of(st.none(), ZONES))
    def somebody_asks(self, draw: float, count: int, zone: str | None) -> None:
        chosen = self.table.choose(self.now, draw, count, {("zone", zone)} if zone else frozenset())
        roomy = [gateway for gateway in self.live.values() if gateway.has_room()]
        assert len({c.beat.incarnation for c in chosen}) == len(chosen) == min(count, len(roomy))
        assert {c.beat.incarnation for c in chosen} <= {gateway.name for gateway in roomy}
        if not chosen:
            return
        first = self.live[chosen[0].beat.address]
        if not any(c.is_newcomer for c in self.table.components()):
            wanted = min((g.is_strained(), g.zone != zone if zone else False, g.fullness()) for g in roomy)
            assert (first.is_strained(), first.zone != zone if zone else False, first.fullness()) == wanted
        self.serials += 1
        serial = self.serials.to_bytes(8, "big")
        self.table.reserve(serial, chosen[0], self.now, "office")
        first.tickets[serial] = self.now + TICKET_S

    @invariant()
    def tickets_are_conserved(self) -> None:
        """Reserved is handed out, less redeemed, less expired, for everybody who lives; and nobody else does."""
        self.table.expire(self.now)
        reserved = {c.beat.incarnation: c.reserved for c in self.table.components()}
        assert reserved == {gateway.name: len(gateway.tickets) for gateway in self.live.values()}


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
