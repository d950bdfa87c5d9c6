"""Small states of a store: one or two jobs in every state, with requests in every state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from roost.backend.jobs import spec_digest
from roost.backend.store.port import StoreLimits
from roost.wire.codec import pack
from roost.wire.codes import ErrorCode
from roost.wire.messages.outcome import Ending, Failure, Outcome

Row = dict[str, Any]

NOW = 1_750_000_000.0
LIMITS = StoreLimits(live_requests=1, grace_s=20.0)
ANN, BOB, CAT = (name * 16 for name in (b"a", b"b", b"c"))
NONCE, OTHER_NONCE = b"1" * 16, b"2" * 16
DONE = pack(Ending(Outcome.DONE, 5, 1, b"{}"))
FAILED = pack(Ending(Outcome.FAILED, 5, 0, b"{}", Failure(ErrorCode.INTERNAL, "a bug")))


@dataclass(frozen=True)
class State:
    """The rows of a store. `seconds_to_reap`: how long nobody loses a lease yet."""

    name: str
    jobs: list[Row]
    requests: list[Row]
    seconds_to_reap: float = -1000.0
    gateways: list[Row] = field(
        default_factory=lambda: [
            {"incarnation": "g1", "seen_at": NOW - 1, "search_at": float("-inf")},
            {"incarnation": "g2", "seen_at": NOW - 1, "search_at": float("-inf")},
        ]
    )

    @property
    def results(self) -> list[Row]:
        """A part under the token of each job, and one under an older token while it runs."""
        parts = []
        for job in self.jobs:
            if job["state"] in ("running", "done"):
                parts.append({"job": job["id"], "token": job["token"], "seq": 0, "data": b"part"})
            if job["state"] == "running":
                parts.append({"job": job["id"], "token": 4, "seq": 0, "data": b"of before"})
        return parts


# --- jobs ------------------------------------------------------------------------------------------


def _job(number: int, state: str, **more: Any) -> Row:
    row: Row = {
        "id": number,
        "run_key": b"run%d" % number,
        "kind": "kind",
        "spec": b"spec%d" % number,
        "rank": NOW - 70 + 10 * number,
        "state": state,
        "token": 5,
        "nonce": None,
        "master": None,
        "lease_until": None,
        "renewed": False,
        "level": 1,
        "progress": b"p",
        "attempt": 0,
        "not_before": float("-inf"),
        "cancel": False,
        "deadline": NOW + 3600,
        "ending": None,
        "created_at": NOW - 70 + 10 * number,
        "started_at": NOW - 50,
        "finished_at": None,
        "keep_until": None,
        "reserved_master": None,
        "reserved_until": None,
    }
    return row | more


def _waiting(**more: Any) -> Any:
    return lambda number: _job(number, "waiting", **more)


def _running(lease_s: float, **more: Any) -> Any:
    own = {"nonce": NONCE, "master": "m1", "lease_until": NOW + lease_s}
    return lambda number: _job(number, "running", **({**own, "nonce": NONCE if number == 1 else OTHER_NONCE} | more))


def _ended(state: str, ending: bytes | None = None, keep_s: float = 24 * 3600.0 - 30, **more: Any) -> Any:
    own = {"run_key": None, "finished_at": NOW - 30, "keep_until": NOW + keep_s, "ending": ending, "master": "m1"}
    return lambda number: _job(number, state, **(own | more))


JOBS: dict[str, Any] = {
    "waiting": _waiting(token=0, started_at=None, level=0, progress=None),
    "released": _waiting(),
    "released after a lost lease": _waiting(attempt=1, renewed=True),
    "isolated": _waiting(attempt=2, not_before=NOW - 40),
    "isolated lately": _waiting(attempt=2, not_before=NOW - 5),
    "held back": _waiting(attempt=2, not_before=NOW + 2),
    "waiting, hopeless": _waiting(attempt=5),
    "waiting, cancelled": _waiting(cancel=True, run_key=None),
    "waiting, overdue": _waiting(deadline=NOW - 1),
    "running": _running(3),
    "running, renewed": _running(3, renewed=True),
    "running, overdue": _running(3, deadline=NOW - 1),
    "running, cancelled": _running(3, cancel=True, run_key=None),
    "running, late": _running(-1),
    "lost": _running(-1, renewed=True),
    "lost again": _running(-1, renewed=True, attempt=1),
    "lost for good": _running(-1, renewed=True, attempt=4),
    "lost, isolated": _running(-40, attempt=2, not_before=NOW - 38),
    "lost, held back": _running(-1, attempt=2, not_before=NOW + 2),
    "lost, cancelled": _running(-1, renewed=True, cancel=True, run_key=None),
    "lost, overdue": _running(-1, renewed=True, deadline=NOW - 1),
    "done": _ended("done", DONE),
    "done, to be deleted": _ended("done", DONE, keep_s=-1),
    "done, soon deleted": _ended("done", DONE, keep_s=60),
    "failed": _ended("failed", FAILED),
    "given up": _ended("failed", attempt=5),
    "cancelled": _ended("cancelled", cancel=True),
    "expired": _ended("expired"),
}
"""Jobs by what they are; each is a function of its id. A job that was deleted has no row."""
DELETED = "deleted"
RESERVABLE = (
    *("isolated", "isolated lately", "held back", "waiting, cancelled", "lost, isolated", "lost for good"),
    *("lost again", "running, renewed"),
)


def _made(name: str, number: int, reserved: tuple[str, float] | None = None) -> list[Row]:
    if name == DELETED:
        return []
    more = {"reserved_master": reserved[0], "reserved_until": NOW + reserved[1]} if reserved else {}
    return [JOBS[name](number) | more]


# --- requests --------------------------------------------------------------------------------------


def _request(client: bytes, state: str, job: int | None = 1, **more: Any) -> Row:
    digest = None if state == "expected" else spec_digest("kind", b"spec%d" % (job or 1))
    row: Row = {
        "client": client,
        "request": "r1",
        "spec_digest": digest,
        "job": job,
        "gateway": "g1",
        "epoch": 3,
        "state": state,
        "stream": False,
        "created_at": NOW - 60,
        "detached_at": None,
        "grace_ended": False,
        "unknown_at": None,
    }
    return row | more


REQUESTS: dict[str, Row | None] = {
    "no request": None,
    "expected": _request(ANN, "expected", None),
    "expected, told": _request(ANN, "expected", None, created_at=NOW - 200, unknown_at=NOW + 50),
    "waiting": _request(ANN, "waiting", stream=True),
    "detached": _request(ANN, "waiting", detached_at=NOW - 5),
    "away": _request(ANN, "waiting", detached_at=NOW - 30),
    "gone": _request(ANN, "waiting", detached_at=NOW - 30, grace_ended=True),
    "left": _request(ANN, "left"),
    "left, away": _request(ANN, "left", detached_at=NOW - 30),
    "refused": _request(ANN, "refused", None),
    "acknowledged": _request(ANN, "acked"),
    "acknowledged early": _request(ANN, "acked", None, spec_digest=None, gateway="", epoch=0),
    "old": _request(ANN, "waiting", created_at=NOW - 3 * 24 * 3600),
}
ANOTHER = _request(BOB, "waiting", gateway="g2")
OTHERS = {"alone": [], "shared": [ANOTHER], "shared, the other is away": [ANOTHER | {"detached_at": NOW - 25}]}
DEAD = [
    {"incarnation": "g1", "seen_at": NOW - 30, "search_at": float("-inf")},
    {"incarnation": "g2", "seen_at": NOW - 2 * 24 * 3600, "search_at": NOW + 5},
]
RESERVED: dict[str, tuple[str, float] | None] = {
    "": None,
    ", reserved": ("m1", 5.0),
    ", reserved for another": ("m9", 5.0),
    ", reserved no more": ("m1", -1.0),
}
REAPING = {"": -1000.0, ", after an outage": 3.0}


# --- states ----------------------------------------------------------------------------------------


def one_job() -> Iterator[State]:
    """One job in each state, with a request in each."""
    for job in (*JOBS, DELETED):
        for request, row in REQUESTS.items():
            own = [row] if row else []
            for reservation, reserved in RESERVED.items():
                if reserved and job not in RESERVABLE:
                    continue
                for reaping, seconds in REAPING.items():
                    name = f"{job}{reservation}; {request}{reaping}"
                    jobs = _made(job, 1, reserved)
                    for other, rows in OTHERS.items():
                        yield State(f"{name}; {other}", jobs, [*own, *rows], seconds)
                    yield State(f"{name}; its gateway is dead", jobs, own, seconds, DEAD)


def two_jobs() -> Iterator[State]:
    """Two jobs, each in each state; a connected client waits for each. The first may have a reserved master."""
    for first in (*JOBS, DELETED):
        for second in (*JOBS, DELETED):
            for reservation, reserved in RESERVED.items():
                if reserved and first not in RESERVABLE:
                    continue
                for reaping, seconds in REAPING.items():
                    yield State(
                        f"{first}{reservation} and {second}{reaping}",
                        [*_made(first, 1, reserved), *_made(second, 2)],
                        [_request(ANN, "waiting", 1), _request(BOB, "waiting", 2, gateway="g2")],
                        seconds,
                    )


FOR_PAIRS = ("waiting", "running", "lost", "lost again", "isolated", "running, cancelled", "done")
PAIRED_JOBS = ("waiting", "isolated", "lost", "lost again", "lost for good", "lost, isolated", "running")


def for_pairs() -> Iterator[State]:
    """The states in which two decisions are made: enough for each that one decision may see the other's effect."""
    waiting = REQUESTS["waiting"]
    assert waiting is not None
    for job in (*JOBS, DELETED):
        yield State(f"{job}; waiting; alone", _made(job, 1), [waiting])
        yield State(f"{job}; waiting; shared", _made(job, 1), [waiting, ANOTHER])
    for job in FOR_PAIRS:
        for request, row in REQUESTS.items():
            if row is not waiting:
                yield State(f"{job}; {request}; alone", _made(job, 1), [row] if row else [])
    for job in RESERVABLE:
        for reservation, reserved in RESERVED.items():
            if reserved:
                yield State(f"{job}{reservation}; waiting; alone", _made(job, 1, reserved), [waiting])
    for first in PAIRED_JOBS:
        for second in PAIRED_JOBS:
            both = [_request(ANN, "waiting", 1), _request(BOB, "waiting", 2, gateway="g2")]
            yield State(f"{first} and {second}", [*_made(first, 1), *_made(second, 2)], both)
    for first in RESERVABLE:
        for second in ("waiting", "isolated"):
            jobs = [*_made(first, 1, RESERVED[", reserved"]), *_made(second, 2)]
            both = [_request(ANN, "waiting", 1), _request(BOB, "waiting", 2, gateway="g2")]
            yield State(f"{first}, reserved, and {second}", jobs, both)
