"""The acquire decision of the SQLite store: it stores, joins or refuses offers, and grants jobs (P5)."""

from __future__ import annotations

from typing import Any

from roost.backend.jobs import (
    JOB_TABLE,
    REFUSED_ENDING,
    REQUEST_TABLE,
    TAKEN_ENDING,
    JobEvent,
    JobState,
    RequestEvent,
    RequestRow,
    spec_digest,
    step,
)
from roost.backend.store.port import ALONE_FROM, ALONE_WAIT_S, BACKOFF_S, RESERVED_S
from roost.backend.store.sqlite.transaction import SqliteTransaction
from roost.wire.messages.lock import Acquire, Acquired, Grant, JobFinished, Offer, RequestState
from roost.wire.messages.outcome import Ending


class FinishedOffers:
    """What is reported of offers at once: those of one gateway, job and kind of ending share a message."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, RequestRow | None], JobFinished] = {}

    def add(self, offer: Offer, gateway: str, job: int, row: RequestRow | None, ending: Ending) -> None:
        """Report how the offer's request ended; `row` is its state, or None when its id is taken."""
        entry = self._found.setdefault((gateway, job, row), JobFinished(gateway, job, [], ending))
        entry.requests.append((offer.client, offer.request))

    def messages(self) -> list[JobFinished]:
        """Return the messages."""
        return list(self._found.values())


class Acquisition:
    """Makes acquire decisions in one transaction."""

    def __init__(self, transaction: SqliteTransaction) -> None:
        self._transaction, self._do, self._now, self._limits = (
            transaction,
            transaction.do,
            transaction.now,
            transaction.limits,
        )
        self._reserved_master: str | None = None

    def acquire(self, acquire: Acquire) -> Acquired:
        """Store the offers, then grant the most urgent jobs."""
        finished = FinishedOffers()
        for offer in acquire.offers:
            self._store_offer(offer, finished)
        grants = [
            self._regrant(row) for row in self._do("granted_by_nonce", nonce=acquire.nonce, master=acquire.master)
        ]
        for row in self._candidates(acquire, acquire.free_slots - len(grants)):
            grant = self._try_grant(row, acquire, alone=not acquire.running and not grants)
            if grant is not None:
                grants.append(grant)
            if self._reserved_master == acquire.master or (grant is not None and grant.attempt >= ALONE_FROM):
                break
        return Acquired(grants, finished.messages())

    def _candidates(self, acquire: Acquire, free_slots: int) -> list[tuple[Any, ...]]:
        """Return the most urgent jobs, expired leases first (P5).

        A reserved master gets nothing until it runs nothing, and then the job for which it is reserved (P16).
        """
        if free_slots <= 0:
            return []
        reserved = self._find_reserved()
        if reserved and self._reserved_master == acquire.master:
            self._reserve(reserved[1], acquire.master)
            return [reserved[1:]] if self._transaction.may_reap and not acquire.running else []
        expired = self._do("expired_leases", many=free_slots).fetchall() if self._transaction.may_reap else []
        return expired + self._do("waiting_jobs", many=free_slots - len(expired)).fetchall()

    def _find_reserved(self) -> tuple[Any, ...] | None:
        """Return the job for which a master is reserved (P16), after that master's name."""
        reserved: tuple[Any, ...] | None = self._do("reserved").fetchone()
        self._reserved_master = reserved[0] if reserved else None
        return reserved

    def _store_offer(self, offer: Offer, finished: FinishedOffers) -> None:
        digest = spec_digest(offer.kind, offer.spec)
        key = {"client": offer.client, "request": offer.request}
        self._do("add_gateway", gateway=offer.gateway)
        known = self._do("find_request", **key).fetchone()
        if known is not None and known[0] != RequestRow.EXPECTED:
            self._repeat(offer, known, digest, finished)
            return
        full = self._do("count_live", client=offer.client).fetchone()[0] >= self._limits.live_requests
        event = RequestEvent.REFUSE if full else RequestEvent.OFFER
        state = step(REQUEST_TABLE, RequestRow.EXPECTED, event)
        job = None if full else self._join_or_add(offer)
        values = {"spec_digest": digest, "job": job, "state": state, "stream": int(offer.stream), **key}
        if known is None:
            self._do("add_request", gateway=offer.gateway, epoch=offer.epoch, **values)
        else:
            self._do("fill_request", **values)
            if offer.epoch > known[4]:
                self._do("move_request", gateway=offer.gateway, epoch=offer.epoch, **key)
        if full:
            finished.add(offer, offer.gateway, 0, state, REFUSED_ENDING)

    def _repeat(self, offer: Offer, known: tuple[Any, ...], digest: bytes, finished: FinishedOffers) -> None:
        """Handle an offer of a known request: it starts nothing (P3), but may move it to a newer connection (P2).

        If the request has ended, its ending is reported again. An id that cannot be used again is reported as taken.
        """
        row, stored_digest, job, gateway, epoch = known
        status = self._transaction.status(offer.request, RequestRow(row), job)
        if stored_digest not in (None, digest) or status.state is RequestState.EXPIRED:
            if offer.epoch >= epoch:
                finished.add(offer, offer.gateway, 0, None, TAKEN_ENDING)
            return
        if offer.epoch > epoch:
            gateway = offer.gateway
            self._do("move_request", gateway=gateway, epoch=offer.epoch, client=offer.client, request=offer.request)
        if status.ending is not None:
            finished.add(offer, gateway, status.job, RequestRow(row), status.ending)

    def _join_or_add(self, offer: Offer) -> int:
        """Return the job that this offer may share (P9), or a new one."""
        run = self._do("find_run", kind=offer.kind, run_key=offer.run_key).fetchone()
        if run is not None:
            job, started_at = run
            if started_at is None or self._now - started_at <= offer.fresh_s:
                return int(job)
            self._do("close_run", job=job)
        job = int(self._do("next_job").fetchone()[0])  # ids are never reused: requests may still name a deleted job
        self._do(
            "add_job",
            job=job,
            run_key=offer.run_key,
            kind=offer.kind,
            spec=offer.spec,
            rank=self._now - offer.priority * self._limits.ageing_s,
            deadline=self._now + offer.max_seconds,
        )
        return job

    def _try_grant(self, row: tuple[Any, ...], acquire: Acquire, alone: bool) -> Grant | None:
        """Grant the job and return the grant; or end or delay the job and return None."""
        job, state, kind, spec, attempt, renewed, cancel, deadline, ready_at = row
        lost = state == JobState.RUNNING and renewed
        attempt += int(bool(lost))
        if cancel:
            self._end(job, JobEvent.CANCEL)
            return None
        if attempt >= self._limits.attempts:
            self._end(job, JobEvent.FAIL)
            return None
        if lost and attempt > 1:
            self._do("hold_back", job=job, attempt=attempt, not_before=self._now + BACKOFF_S * (attempt - 1))
            return None
        if attempt >= ALONE_FROM and not alone:
            if self._reserved_master is None and self._now - ready_at >= ALONE_WAIT_S:
                self._reserve(job, acquire.master)
            return None
        token = self._do("next_token").fetchone()[0]
        self._do(
            "grant",
            job=job,
            state=step(JOB_TABLE, JobState(state), JobEvent.GRANT),
            token=token,
            nonce=acquire.nonce,
            master=acquire.master,
            lease_until=self._now + self._limits.lease_s,
            attempt=attempt,
        )
        return self._regrant((job, token, kind, spec, attempt, deadline))

    def _end(self, job: int, event: JobEvent) -> None:
        """End the job. If a master was reserved for it, that one is no longer."""
        self._transaction.end(job, event)
        self._find_reserved()

    def _reserve(self, job: int, master: str) -> None:
        """Reserve this master for the job. Only one master is reserved at a time, so that others continue (P16)."""
        self._do("reserve", job=job, master=master, until=self._now + RESERVED_S)
        self._reserved_master = master

    def _regrant(self, row: tuple[Any, ...]) -> Grant:
        job, token, kind, spec, attempt, deadline = row
        remaining_s = max(0.0, deadline - self._now)
        return Grant(
            job, token, kind, spec, self._limits.lease_s, attempt, remaining_s, self._transaction.waiting_requests(job)
        )
