"""Encodes decisions as rows for the server-side functions, and decodes the rows that they return into answers.

The types are those of ``functions/01_types.sql``. A row that is sent has the fields of its type there, in the same
order. Of a row that comes back the fields are read by name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from roost.backend.jobs import (
    EVENT_OF_OUTCOME,
    JOB_TABLE,
    LEFT_ENDING,
    REFUSED_ENDING,
    TAKEN_ENDING,
    JobState,
    spec_digest,
    step,
)
from roost.backend.store.port import (
    ALONE_FROM,
    ALONE_WAIT_S,
    BACKOFF_S,
    READ_KEEPS_S,
    RESERVED_S,
    TICK_GAP_S,
    StoreLimits,
)
from roost.backend.store.refusals import RELEASED, refused
from roost.backend.store.stored_outcomes import read_ending
from roost.wire.codec import pack
from roost.wire.messages.client import MAX_IDS
from roost.wire.messages.lock import (
    Acknowledge,
    Acquire,
    Acquired,
    Answer,
    Attach,
    CancelRequest,
    Complete,
    Completed,
    Decision,
    Detach,
    FinishedRequests,
    Grant,
    JobFinished,
    LeaseRenewal,
    Offer,
    Release,
    RequestRef,
    RequestState,
    RequestStatus,
    Statuses,
    Verdict,
)
from roost.wire.messages.outcome import Ending

Row = tuple[Any, ...]
OWN_ENDINGS = {"left": LEFT_ENDING, "refused": REFUSED_ENDING, "taken": TAKEN_ENDING}


def limits_row(limits: StoreLimits) -> Row:
    """Return the limits as a row of the type `limits`."""
    intervals = (
        limits.lease_s,
        limits.retention_s,
        limits.grace_s,
        limits.grace_after_outage_s,
        limits.expect_s,
        TICK_GAP_S,
        BACKOFF_S,
        ALONE_WAIT_S,
        RESERVED_S,
        READ_KEEPS_S,
    )
    return (
        *map(interval, intervals),
        limits.live_requests,
        limits.ageing_s,
        limits.attempts,
        ALONE_FROM,
        MAX_IDS,
    )


def interval(seconds: float) -> timedelta:
    """Return so many seconds; a century stands for more, since times beyond the year 294276 cannot be stored."""
    return timedelta(seconds=min(seconds, 100 * 365 * 24 * 3600.0))


# --- encoding --------------------------------------------------------------------------------------


@dataclass
class Commands:
    """Decisions as rows, by kind, each with its place in the batch.

    Rows of acquire decisions name their offers by range, counted from 1.
    """

    acquires: list[Row] = field(default_factory=list)
    offers: list[Row] = field(default_factory=list)
    completes: list[Row] = field(default_factory=list)
    releases: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, decisions: Sequence[Decision]) -> Commands:
        """Return the decisions as rows."""
        commands = cls()
        for place, decision in enumerate(decisions):
            commands.add(place, decision)
        return commands

    def add(self, place: int, decision: Decision) -> None:
        """Add a decision."""
        match decision:
            case Acquire(master, nonce, slots, offers, running):
                first = len(self.offers) + 1
                self.offers += map(_offer, offers)
                self.acquires.append((place, master, nonce, slots, running, first, len(self.offers)))
            case Complete(job, token, ending):
                ended = step(JOB_TABLE, JobState.RUNNING, EVENT_OF_OUTCOME[ending.outcome])
                self.completes.append((place, job, token, ended, pack(ending), ending.parts > 0))
            case Release(job, token):
                self.releases.append((place, job, token))
            case Attach(client, epoch, gateway, requests):
                self.requests.append((place, "attach", [client], requests[:MAX_IDS], gateway, epoch))
            case Detach(gateway, clients, epoch, requests):
                self.requests.append((place, "detach", clients, requests or None, gateway, epoch))
            case Acknowledge(client, request):
                self.requests.append((place, "acknowledge", [client], [request], None, None))
            case CancelRequest(client, request):
                self.requests.append((place, "leave", [client], [request], None, None))

    @property
    def values(self) -> tuple[list[Row], ...]:
        """The arguments of the function `decide`, but for the limits."""
        return self.acquires, self.offers, self.completes, self.releases, self.requests


def _offer(offer: Offer) -> Row:
    return (
        offer.client,
        offer.request,
        offer.gateway,
        offer.epoch,
        offer.kind,
        offer.spec,
        offer.run_key,
        offer.fresh_s,
        offer.max_seconds,
        offer.priority,
        offer.stream,
        spec_digest(offer.kind, offer.spec),
    )


def lease_renewal(renewal: LeaseRenewal) -> Row:
    """Return a lease renewal as a row."""
    return renewal.job, renewal.token, renewal.level, renewal.progress


# --- decoding --------------------------------------------------------------------------------------


def answers(decisions: Sequence[Decision], found: Any, lease_s: float) -> list[Answer]:
    """Return an answer to each decision, from the lists of rows about all of them."""
    watchers: dict[int, list[RequestRef]] = defaultdict(list)
    for row in found["watchers"]:
        watchers[row["job"]].append(request_ref(row))
    grants, statuses, finished = (_by_place(found[name]) for name in ("granted", "statuses", "finished"))
    verdicts = {row["place"]: row["verdict"] for row in found["verdicts"]}
    made: list[Answer] = []
    for place, decision in enumerate(decisions):
        if isinstance(decision, Acquire):
            granted = [_grant(row, watchers[row["job"]], lease_s) for row in grants[place]]
            made.append(Acquired(granted, finished_jobs(finished[place])))
        elif isinstance(decision, Complete):
            made.append(_completed(decision, verdicts[place], watchers[decision.job]))
        else:
            made.append(Statuses([_status(row) for row in statuses[place]]))
    return made


def _by_place(rows: Iterable[Any]) -> dict[int, list[Any]]:
    by_place: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        by_place[row["place"]].append(row)
    return by_place


def _completed(decision: Complete, verdict: str, watchers: list[RequestRef]) -> Answer:
    if verdict == "released":
        return refused(decision, RELEASED)
    return Completed(Verdict.OK, watchers) if verdict == "ok" else Completed(Verdict.LOST)


def _grant(row: Any, requests: list[RequestRef], lease_s: float) -> Grant:
    return Grant(
        row["job"], row["token"], row["kind"], row["spec"], lease_s, row["attempt"], row["remaining_s"], requests
    )


def request_ref(row: Any) -> RequestRef:
    """Return the request that waits for a job, from a row."""
    return RequestRef(row["client"], row["request"], row["gateway"], row["stream"])


def finished_jobs(rows: Iterable[Any]) -> list[JobFinished]:
    """Group finished requests by gateway, job and ending."""
    found: dict[tuple[str, int, str], JobFinished] = {}
    for row in rows:
        gateway, job, state = row["gateway"], row["job"] or 0, row["state"]
        finished = found.get((gateway, job, state))
        if finished is None:
            finished = found[gateway, job, state] = JobFinished(gateway, job, [], _ending(row))
        finished.requests.append((row["client"], row["request"]))
    return list(found.values())


def finished_requests(rows: Sequence[Any]) -> FinishedRequests:
    """Return the answer to a poll of a gateway."""
    unknown = [(row["client"], row["request"]) for row in rows if row["state"] == "unknown"]
    return FinishedRequests(finished_jobs(row for row in rows if row["state"] != "unknown"), unknown)


def _status(row: Any) -> RequestStatus:
    state, request, job = row["state"], row["request"], row["job"] or 0
    if state == "waiting":
        return RequestStatus(request, RequestState.WAITING, job)
    if state == "gone":
        return RequestStatus(request, RequestState.EXPIRED)
    return RequestStatus(request, RequestState.ENDED, job, _ending(row))


def _ending(row: Any) -> Ending:
    """Return how a request ended."""
    if row["state"] in OWN_ENDINGS:
        return OWN_ENDINGS[row["state"]]
    return read_ending(row["state"], row["token"], row["ending"], row["attempt"])
