"""Decisions as the rows that the server-side functions take, and the facts they return as answers.

The types are those of the ``.sql`` files: a row here has the fields of its type there, in order.
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
    """The limits as a row."""
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


# --- asking ----------------------------------------------------------------------------------------


def asks(decisions: Sequence[Decision]) -> tuple[list[Row], list[Row]]:
    """The decisions, and the offers that they point into, counted from 1."""
    rows: list[Row] = []
    offers: list[Row] = []
    for place, decision in enumerate(decisions):
        first = len(offers) + 1
        if isinstance(decision, Acquire):
            offers += map(_offer, decision.offers)
        rows.append((place, decision.__struct_config__.tag, *_ask(decision, first, len(offers))))
    return rows, offers


def _ask(decision: Decision, first: int, last: int) -> Row:
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


def beat(beat: LeaseRenewal) -> Row:
    """A beat as a row."""
    return beat.job, beat.token, beat.level, beat.growth, beat.progress


# --- answers ---------------------------------------------------------------------------------------


def answers(decisions: Sequence[Decision], facts: Iterable[Any], lease_s: float) -> list[Answer]:
    """An answer to each decision, from what is said of it."""
    watchers: dict[int, list[RequestRef]] = defaultdict(list)
    said: list[list[Any]] = [[] for _ in decisions]
    for fact in facts:
        if fact["what"] == "watcher":
            watchers[fact["job"]].append(watcher(fact))
        else:
            said[fact["place"]].append(fact)
    return [_answer(about, here, watchers, lease_s) for about, here in zip(decisions, said, strict=True)]


def _answer(about: Decision, facts: list[Any], watchers: dict[int, list[RequestRef]], lease_s: float) -> Answer:
    if isinstance(about, Acquire):
        grants = [_grant(fact, watchers[fact["job"]], lease_s) for fact in facts if fact["what"] == "grant"]
        return Acquired(grants, knocks(fact for fact in facts if fact["what"] == "knock"))
    if isinstance(about, Complete):
        (fact,) = facts
        if fact["what"] == "refused":
            return refused(about, fact["state"])
        verdict = Verdict(fact["state"])
        return Completed(verdict, watchers[about.job] if verdict is Verdict.OK else [])
    return Statuses([_status(fact) for fact in facts])


def refused(decision: Decision, reason: str) -> Refused:
    """The answer to a decision that cannot be made."""
    return Refused(ErrorCode.BAD_MESSAGE, f"{type(decision).__name__} refused: {reason}")


def _grant(fact: Any, watchers: list[RequestRef], lease_s: float) -> Grant:
    return Grant(
        fact["job"], fact["token"], fact["kind"], fact["spec"], lease_s, fact["attempt"], fact["remaining_s"], watchers
    )


def watcher(fact: Any) -> RequestRef:
    """Who waits for a job."""
    return RequestRef(fact["client"], fact["request"], fact["gateway"], fact["stream"])


def knocks(facts: Iterable[Any]) -> list[JobFinished]:
    """Requests that ended, those of one job, gateway and ending together."""
    together: dict[tuple[str, int, str], JobFinished] = {}
    for fact in facts:
        gateway, job, state = fact["gateway"], fact["job"] or 0, fact["state"]
        knock = together.get((gateway, job, state))
        if knock is None:
            knock = together[gateway, job, state] = JobFinished(gateway, job, [], _ending(fact))
        knock.requests.append((fact["client"], fact["request"]))
    return list(together.values())


def swept(facts: Sequence[Any]) -> FinishedRequests:
    """The answer to a sweep."""
    unknown = [(fact["client"], fact["request"]) for fact in facts if fact["what"] == "unknown"]
    return FinishedRequests(knocks(fact for fact in facts if fact["what"] == "knock"), unknown)


def _status(fact: Any) -> RequestStatus:
    state, request, job = fact["state"], fact["request"], fact["job"] or 0
    if state == "waiting":
        return RequestStatus(request, RequestState.WAITING, job)
    if state == "gone":
        return RequestStatus(request, RequestState.EXPIRED)
    return RequestStatus(request, RequestState.ENDED, job, _ending(fact))


def _ending(fact: Any) -> Ending:
    """How a request ended. Of jobs that the store itself ended the state says all."""
    state, token, packed = fact["state"], fact["token"], fact["ending"]
    if state in OWN_ENDINGS:
        return OWN_ENDINGS[state]
    if packed is not None:
        ending = READ_ENDING(packed)
    else:
        ending = gave_up(fact["attempt"]) if state == JobState.FAILED else Ending(Outcome(state))
    return msgspec.structs.replace(ending, token=token)
