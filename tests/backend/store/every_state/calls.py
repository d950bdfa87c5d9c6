"""The calls that are tried in every state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from roost.wire.messages.lock import (
    Acknowledge,
    Acquire,
    Attach,
    CancelRequest,
    Complete,
    Decision,
    Detach,
    GatewayPoll,
    LeaseRenewal,
    Offer,
    PutPart,
    ReadParts,
    Release,
)
from roost.wire.messages.outcome import Ending, Outcome
from tests.backend.store.every_state.states import ANN, CAT, NONCE, OLD_TOKEN, RUN, SPEC, TOKEN


@dataclass(frozen=True)
class Tick:
    """What time does, once."""


Call = Decision | LeaseRenewal | PutPart | ReadParts | GatewayPoll | Tick
DECISIONS = (Acquire, Complete, Release, Attach, Acknowledge, CancelRequest, Detach)


def _offer(client: bytes, request: str, run: bytes, **more: Any) -> Offer:
    spec = SPEC if run == RUN else run
    return replace(Offer(client, request, "g1", 5, "crawl", spec, run, 60.0, 3600.0, 0, True), **more)


def _acquire(slots: int, *offers: Offer, master: str = "m1", running: int = 0, nonce: bytes = b"") -> Acquire:
    fresh = b"fresh" + bytes([slots, running, len(offers)]) + master.encode()
    return Acquire(master, nonce or fresh, slots, list(offers), running)


DONE, FAILED = Ending(Outcome.DONE, parts=2), Ending(Outcome.FAILED)
CALLS: dict[str, Call] = {
    "acquire 1": _acquire(1),
    "acquire 1, busy": _acquire(1, running=1),
    "acquire 2": _acquire(2),
    "acquire 2 for m2": _acquire(2, master="m2"),
    "acquire again": _acquire(2, nonce=NONCE),
    "acquire again for m2": _acquire(1, nonce=NONCE, master="m2"),
    "store a new offer": _acquire(0, _offer(CAT, "r1", b"new")),
    "store and acquire": _acquire(1, _offer(CAT, "r1", b"new"), master="m2"),
    "an urgent offer": _acquire(1, _offer(CAT, "r1", b"new", priority=10), master="m3"),
    "join": _acquire(1, _offer(CAT, "r1", RUN), master="m2"),
    "join nothing older than now": _acquire(2, _offer(CAT, "r1", RUN, fresh_s=0.0)),
    "the offer": _acquire(0, _offer(ANN, "r1", RUN)),
    "the offer from elsewhere": _acquire(1, _offer(ANN, "r1", RUN, gateway="g2", epoch=6)),
    "the offer, late": _acquire(1, _offer(ANN, "r1", RUN, gateway="g0", epoch=4)),
    "the id for another offer": _acquire(1, _offer(ANN, "r1", b"new")),
    "a second request": _acquire(1, _offer(ANN, "r2", b"new"), master="m2"),
    "two requests": _acquire(2, _offer(ANN, "r1", RUN), _offer(ANN, "r2", b"new")),
    "complete": Complete(1, TOKEN, DONE),
    "complete without parts": Complete(1, TOKEN, Ending(Outcome.DONE)),
    "fail": Complete(1, TOKEN, FAILED),
    "complete late": Complete(1, OLD_TOKEN, DONE),
    "release": Release(1, TOKEN),
    "release late": Release(1, OLD_TOKEN),
    "attach": Attach(ANN, 6, "g2", ["r1"]),
    "attach late": Attach(ANN, 4, "g0", ["r1", "r9"]),
    "detach": Detach("g1", [ANN], 9),
    "detach late": Detach("g1", [ANN], 4),
    "detach one": Detach("g1", [ANN, CAT], 9, ["r1"]),
    "acknowledge": Acknowledge(ANN, "r1"),
    "acknowledge what is not there": Acknowledge(ANN, "r9"),
    "cancel": CancelRequest(ANN, "r1"),
    "cancel what is not there": CancelRequest(CAT, "r1"),
    "renew": LeaseRenewal(1, TOKEN, 2, progress=b"p"),
    "renew on the next level": LeaseRenewal(1, TOKEN, 3, progress=b"p"),
    "renew late": LeaseRenewal(1, OLD_TOKEN, 3),
    "put": PutPart(1, TOKEN, 0, b"new part"),
    "put late": PutPart(1, OLD_TOKEN, 1, b"new part"),
    "read": ReadParts(1, TOKEN, 0, 5),
    "sweep": GatewayPoll("g1"),
    "tick": Tick(),
}
