"""The states: one job in each situation, a second one, and the request of a client who waits for the first.

A state is rows by table. Times are seconds after `NOW`; both engines have the same columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from roost.backend.jobs import spec_digest
from roost.backend.store.port import StoreLimits
from roost.wire.codec import pack
from roost.wire.messages.outcome import Ending, Outcome

NOW = 1_750_000_000.0
ANN, BOB, CAT = (name * 16 for name in (b"a", b"b", b"c"))
NONCE, SPEC, RUN = b"n" * 16, b"spec", b"run"
TOKEN, OLD_TOKEN = 50, 40
LIMITS = StoreLimits()
AGES_AGO = -1000.0
Row = dict[str, Any]


@dataclass
class State:
    """What is stored, and whether leases may be lost now."""

    name: str
    jobs: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    results: list[Row] = field(default_factory=list)
    gateways: list[Row] = field(default_factory=list)
    may_reap: bool = True


def _job(**more: Any) -> Row:
    row = {"id": 1, "run_key": RUN, "kind": "crawl", "spec": SPEC, "rank": NOW - 100, "state": "waiting", "token": 0}
    row |= {"nonce": None, "master": None, "lease_until": None, "renewed": False, "level": 2, "progress": None}
    row |= {"attempt": 0, "not_before": None, "cancel": False, "deadline": 1000.0, "ending": None, "created_at": -100.0}
    row |= {"started_at": None, "finished_at": None, "keep_until": None}
    return row | {"reserved_master": None, "reserved_until": None} | more


def _running(**more: Any) -> Row:
    values = {
        "state": "running",
        "token": TOKEN,
        "nonce": NONCE,
        "master": "m1",
        "lease_until": 4.0,
        "started_at": -50.0,
    }
    return _job(**values | more)


def _lost(attempt: int, **more: Any) -> Row:
    return _running(lease_until=-1.0, renewed=True, attempt=attempt, **more)


def _ended(state: str, ending: Ending | None, **more: Any) -> Row:
    values: Row = {"state": state, "run_key": None, "token": TOKEN, "master": "m1", "started_at": -50.0}
    values |= {"finished_at": -10.0, "keep_until": 5000.0, "ending": None if ending is None else pack(ending)}
    return _job(**values | more)


JOBS: dict[str, Row | None] = {
    "no job": None,
    "waiting": _job(),
    "waiting, cancelled": _job(cancel=True, run_key=None),
    "waiting, held back": _job(attempt=2, not_before=2.0),
    "waiting, alone": _job(attempt=2, created_at=-10.0),
    "waiting for long, alone": _job(attempt=2),
    "waiting, m1 reserved": _job(attempt=2, reserved_master="m1", reserved_until=5.0),
    "waiting, m2 reserved": _job(attempt=2, reserved_master="m2", reserved_until=5.0),
    "waiting, past its deadline": _job(deadline=-1.0),
    "released": _job(token=TOKEN, started_at=-50.0),
    "running": _running(),
    "running, renewed": _running(renewed=True, attempt=1),
    "running, cancelled": _running(cancel=True, run_key=None),
    "running, lost before a renewal": _running(lease_until=-1.0),
    "running, lost": _lost(0),
    "running, lost again": _lost(1),
    "running, lost and alone": _running(lease_until=-1.0, attempt=3),
    "running, lost for good": _lost(4),
    "running, lost and cancelled": _lost(0, cancel=True, run_key=None),
    "running, lost past its deadline": _lost(0, deadline=-1.0),
    "done": _ended("done", Ending(Outcome.DONE, parts=2)),
    "done, to be deleted": _ended("done", Ending(Outcome.DONE, parts=2), keep_until=-1.0),
    "failed by the store": _ended("failed", None, attempt=5),
    "cancelled": _ended("cancelled", None),
    "expired": _ended("expired", None),
}
SECOND: dict[str, Row | None] = {
    "": None,
    "more urgent": _job(id=2, run_key=b"second", spec=b"second", rank=NOW - 200),
    "as urgent": _job(id=2, run_key=b"second", spec=b"second"),
    "lost": _lost(0, id=2, run_key=b"second", spec=b"second", token=45, master="m3", nonce=b"o" * 16),
}


def _request(**more: Any) -> Row:
    row = {"client": ANN, "request": "r1", "spec_digest": spec_digest("crawl", SPEC), "job": 1, "gateway": "g1"}
    row |= {"epoch": 5, "state": "waiting", "stream": True, "created_at": -100.0, "detached_at": None}
    return row | {"grace_ended": False, "unknown_at": None} | more


REQUESTS: dict[str, Row | None] = {
    "none": None,
    "expected": _request(state="expected", job=None, spec_digest=None, stream=False),
    "expected, away": _request(state="expected", job=None, spec_digest=None, stream=False, detached_at=-500.0),
    "waiting": _request(),
    "away": _request(detached_at=-10.0),
    "away for too long": _request(detached_at=-500.0),
    "gone": _request(detached_at=-500.0, grace_ended=True),
    "left": _request(state="left"),
    "left before its offer": _request(state="left", job=None, spec_digest=None, gateway="", epoch=0),
    "refused": _request(state="refused", job=None),
    "acked": _request(state="acked"),
    "of old": _request(created_at=-3 * LIMITS.retention_s),
}


def states(seconds: tuple[str, ...] = ("",), others: tuple[str, ...] = ("", "another")) -> Iterator[State]:
    """All states with these second jobs, and with or without another client who waits for the first job."""
    for job, second, request, other, reap in product(JOBS, seconds, REQUESTS, others, (True, False)):
        dead = request == "waiting" and not reap  # its gateway was not seen for long
        state = State(f"{job}; {second}; {request}; {other}; {'' if reap else 'after an outage'}", may_reap=reap)
        rows = (JOBS[job], SECOND[second])
        state.jobs = [row for row in rows if row is not None]
        if (asked := REQUESTS[request]) is not None:
            state.requests.append(asked)
        if other:
            state.requests.append(_request(client=BOB, gateway="g3"))
        if job not in ("no job", "waiting"):
            state.results = [{"job": 1, "token": token, "seq": 0, "data": b"part"} for token in (OLD_TOKEN, TOKEN)]
        state.gateways = [
            {"incarnation": "g1", "seen_at": -500.0 if dead else -1.0},
            {"incarnation": "g3", "seen_at": -1.0},
            {"incarnation": "g4", "seen_at": -3 * LIMITS.retention_s},
        ]
        yield state
