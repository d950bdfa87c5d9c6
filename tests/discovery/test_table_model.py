"""The table against a model that is too simple to be wrong: any history of beats, tickets and time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from discovery.table import INTERVAL_S, MISSED_BEATS, TICKET_S, Table
from tests.discovery.beats import make_beat

ADDRESSES = ["ws://a", "ws://b", "ws://c"]


@dataclass
class ModelGateway:
    name: str
    address: str
    load: int
    capacity: int
    sequence: int
    heard: float
    draining: bool = False
    tickets: dict[bytes, float] = field(default_factory=dict)

    def has_room(self) -> bool:
        return not self.draining and self.load + len(self.tickets) < self.capacity


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

    @rule(address=st.sampled_from(ADDRESSES), load=st.integers(0, 8), capacity=st.integers(0, 8))
    def a_gateway_starts(self, address: str, load: int, capacity: int) -> None:
        self.serials += 1
        new = ModelGateway(f"i{self.serials}", address, load, capacity, 1, self.now)
        assert self.table.beat(make_beat(new.name, 1, load, capacity, address=address), self.now)
        self.live[address] = new

    @precondition(lambda self: self.live)
    @rule(data=st.data(), load=st.integers(0, 8), draining=st.booleans())
    def a_gateway_beats(self, data: st.DataObject, load: int, draining: bool) -> None:
        gateway = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        redeemed = data.draw(
            st.lists(st.sampled_from(sorted(gateway.tickets)), unique=True) if gateway.tickets else st.just([])
        )
        gateway.load, gateway.draining, gateway.heard = load, draining, self.now
        gateway.sequence += data.draw(st.integers(1, 3))
        for serial in redeemed:
            del gateway.tickets[serial]
        beat = make_beat(
            gateway.name, gateway.sequence, load, gateway.capacity,
            address=gateway.address, draining=draining, redeemed=redeemed,
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

    @rule(draw=st.floats(0, 1, exclude_max=True), count=st.integers(1, 4))
    def somebody_asks(self, draw: float, count: int) -> None:
        chosen = self.table.choose(self.now, draw, count)
        roomy = [gateway for gateway in self.live.values() if gateway.has_room()]
        assert len(chosen) == min(count, len(roomy))
        assert {c.beat.incarnation for c in chosen} <= {gateway.name for gateway in roomy}
        if not chosen:
            return
        first = self.live[chosen[0].beat.address]
        if not chosen[0].is_newcomer and not any(c.is_newcomer for c in self.table.components()):
            fullness = {g.name: (g.load + len(g.tickets)) / g.capacity for g in roomy}
            assert fullness[first.name] == min(fullness.values())
        self.serials += 1
        serial = self.serials.to_bytes(8, "big")
        self.table.reserve(serial, chosen[0], self.now)
        first.tickets[serial] = self.now + TICKET_S

    @invariant()
    def tickets_are_conserved(self) -> None:
        """Reserved is handed out, less redeemed, less expired, for everybody who lives; and nobody else does."""
        self.table.expire(self.now)
        reserved = {c.beat.incarnation: c.reserved for c in self.table.components()}
        assert reserved == {gateway.name: len(gateway.tickets) for gateway in self.live.values()}


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
