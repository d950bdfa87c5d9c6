"""Encodes decisions as rows for the server-side functions, and decodes the rows that they return into answers.

The types are those of the ``.sql`` files: a row here has the fields of its type there, in the same order.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from roost.backend.jobs import (
    EVENT_OF_OUTCOME,
    JOB_TABLE,
    LEFT_ENDING,
    REFUSED_ENDING,
    TAKEN_ENDING,
    JobState,
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
from roost.backend.store.stored_outcomes import READ_ENDING, gave_up
from roost.wire.codec import pack
from roost.wire.codes import ErrorCode
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
    Refused,
    Release,
    RequestRef,
    RequestState,
    RequestStatus,
    Statuses,
    Verdict,
)
from roost.wire.messages.outcome import Ending, Outcome

Row = tuple[Any, ...]
OWN_ENDINGS = {"left": LEFT_ENDING, "refused": REFUSED_ENDING, "taken": TAKEN_ENDING}


def rules(limits: StoreLimits) -> Row:
    """Return the limits as a row of the type `rules`."""
    return (
        limits.lease_s,
        limits.retention_s,
        limits.grace_s,
        limits.expect_s,
        limits.live_requests,
        limits.ageing_s,
        limits.attempts,
        TICK_GAP_S,
        BACKOFF_S,
        ALONE_FROM,
        MAX_IDS,
        ALONE_WAIT_S,
        RESERVED_S,
        READ_KEEPS_S,
    )


# --- encoding --------------------------------------------------------------------------------------


def commands(decisions: Sequence[Decision]) -> tuple[list[Row], list[Row]]:
    """Return the decisions as rows, and the offers, to which the rows refer by range, counted from 1."""
    rows: list[Row] = []
    offers: list[Row] = []
    for place, decision in enumerate(decisions):
        first = len(offers) + 1
        if isinstance(decision, Acquire):
            offers += map(_offer, decision.offers)
        rows.append((place, decision.__struct_config__.tag, *_command(decision, first, len(offers))))
    return rows, offers


def _command(decision: Decision, first: int, last: int) -> Row:
    match decision:
        case Acquire(master, nonce, slots, _, running):
            return master, nonce, slots, running, first, last, *(None,) * 9
        case Complete(job, token, ending):
            ended = step(JOB_TABLE, JobState.RUNNING, EVENT_OF_OUTCOME[ending.outcome])
            return *(None,) * 6, job, token, ended, pack(ending), ending.parts > 0, *(None,) * 4
        case Release(job, token):
            return *(None,) * 6, job, token, *(None,) * 7
        case Attach(client, epoch, gateway, requests):
            return gateway, *(None,) * 10, client, requests[:MAX_IDS], None, epoch
        case Acknowledge(client, request) | CancelRequest(client, request):
            return *(None,) * 11, client, [request], None, None
        case Detach(gateway, clients, epoch, requests):
            return gateway, *(None,) * 11, requests or None, clients, epoch


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
        hashlib.sha256(offer.kind.encode() + b"\0" + offer.spec).digest(),
    )


def lease_renewal(renewal: LeaseRenewal) -> Row:
    """Return a lease renewal as a row."""
    return renewal.job, renewal.token, renewal.level, renewal.growth, renewal.progress


# --- decoding --------------------------------------------------------------------------------------


def answers(decisions: Sequence[Decision], rows: Iterable[Any], lease_s: float) -> list[Answer]:
    """Return an answer to each decision, from the rows about it."""
    requests: dict[int, list[RequestRef]] = defaultdict(list)
    rows_of: list[list[Any]] = [[] for _ in decisions]
    for row in rows:
        if row["what"] == "watcher":
            requests[row["job"]].append(request_ref(row))
        else:
            rows_of[row["place"]].append(row)
    return [_answer(about, here, requests, lease_s) for about, here in zip(decisions, rows_of, strict=True)]


def _answer(about: Decision, rows: list[Any], requests: dict[int, list[RequestRef]], lease_s: float) -> Answer:
    if isinstance(about, Acquire):
        grants = [_grant(row, requests[row["job"]], lease_s) for row in rows if row["what"] == "grant"]
        return Acquired(grants, finished_jobs(row for row in rows if row["what"] == "knock"))
    if isinstance(about, Complete):
        (row,) = rows
        if row["what"] == "refused":
            return refused(about, row["state"])
        verdict = Verdict(row["state"])
        return Completed(verdict, requests[about.job] if verdict is Verdict.OK else [])
    return Statuses([_status(row) for row in rows])


def refused(decision: Decision, reason: str) -> Refused:
    """Return the answer to a decision that cannot be made."""
    return Refused(ErrorCode.BAD_MESSAGE, f"{type(decision).__name__} refused: {reason}")


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
    unknown = [(row["client"], row["request"]) for row in rows if row["what"] == "unknown"]
    return FinishedRequests(finished_jobs(row for row in rows if row["what"] == "knock"), unknown)


def _status(row: Any) -> RequestStatus:
    state, request, job = row["state"], row["request"], row["job"] or 0
    if state == "waiting":
        return RequestStatus(request, RequestState.WAITING, job)
    if state == "gone":
        return RequestStatus(request, RequestState.EXPIRED)
    return RequestStatus(request, RequestState.ENDED, job, _ending(row))


def _ending(row: Any) -> Ending:
    """Return how a request ended. A job that the store itself ended has no packed ending, only a state."""
    state, token, packed = row["state"], row["token"], row["ending"]
    if state in OWN_ENDINGS:
        return OWN_ENDINGS[state]
    if packed is not None:
        ending = READ_ENDING(packed)
    else:
        ending = gave_up(row["attempt"]) if state == JobState.FAILED else Ending(Outcome(state))
    return msgspec.structs.replace(ending, token=token)
