"""The decisions of the lock protocol over SQLite's statements: synchronous, inside one transaction.

`Ledger` is made for one transaction and one time. It looks and changes without anything in between: SQLite has
one writer (BEGIN IMMEDIATE), which is what row locks in id order are elsewhere (P11).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec

from backend.jobs import (
    EVENT_OF_OUTCOME,
    JOB_TABLE,
    LIVE_JOBS,
    REFUSED_ENDING,
    REQUEST_TABLE,
    TAKEN_ENDING,
    JobEvent,
    JobState,
    RequestEvent,
    RequestRow,
    request_ending,
    step,
)
from backend.store.port import StoreLimits
from wire.codec import Unpacker, pack
from wire.codes import ErrorCode
from wire.errors import BadInput, Misuse
from wire.messages.client import MAX_IDS
from wire.messages.lock import (
    Acknowledge,
    Acquire,
    Acquired,
    Answer,
    Attach,
    Complete,
    Completed,
    Decision,
    Detach,
    Grant,
    Knock,
    LeaseAnswer,
    LeaseBeat,
    Offer,
    PutPart,
    Refused,
    Release,
    RequestState,
    RequestStatus,
    Statuses,
    Sweep,
    Swept,
    Verdict,
    Watcher,
    Withdraw,
)
from wire.messages.outcome import Ending, Failure, Outcome

BACKOFF_S = 2.0
"""A job whose lease was lost n times waits n times as long before it is granted again (P16)."""
ALONE_FROM = 2
"""From this many lost leases on a job is granted only to a master that runs nothing else (P16)."""
READ_ENDING: Unpacker[Ending] = Unpacker(Ending, "ending")

Knocks = dict[tuple[str, int, Ending], list[tuple[bytes, str]]]


class Ledger:
    """One transaction at time `now` (seconds).

    Nobody loses a lease or their grace before `no_reap_before`, nor when the store `was_away`: its ticking row has a
    gap, so it was not the masters and clients that were silent (P15).
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        sql: Mapping[str, str],
        limits: StoreLimits,
        now: float,
        no_reap_before: float,
        was_away: bool,
    ) -> None:
        self._db, self._sql, self._limits, self._now = db, sql, limits, now
        self._no_reap_before = now + limits.lease_s if was_away else no_reap_before
        self._may_reap = now >= self._no_reap_before

    def _do(self, name: str, **values: Any) -> sqlite3.Cursor:
        return self._db.execute(self._sql[name], {"now": self._now, **values})

    # --- decisions -----------------------------------------------------------------------------

    def decide(self, decision: Decision) -> Answer:
        """Make one decision in a savepoint of its own (P19)."""
        self._db.execute("SAVEPOINT decision")
        try:
            answer = self._dispatch(decision)
        except (BadInput, Misuse, sqlite3.IntegrityError, sqlite3.DataError, UnicodeError, OverflowError) as problem:
            self._db.execute("ROLLBACK TO decision")
            answer = Refused(ErrorCode.BAD_MESSAGE, f"{type(decision).__name__} refused: {problem}")
        self._db.execute("RELEASE decision")
        return answer

    def _dispatch(self, decision: Decision) -> Answer:
        match decision:
            case Acquire():
                return self._acquire(decision)
            case Complete():
                return self._complete(decision)
            case Release():
                self._do("release", job=decision.job, token=decision.token, state=JobState.WAITING)
                return Statuses()
            case Attach():
                return Statuses([self._attach(decision, request) for request in decision.requests[:MAX_IDS]])
            case Acknowledge():
                return self._settle(decision.client, decision.request, RequestEvent.ACKNOWLEDGE)
            case Withdraw():
                return self._settle(decision.client, decision.request, RequestEvent.LEAVE)
            case Detach():
                for client in decision.clients:
                    self._do("detach", client=client, gateway=decision.gateway, epoch=decision.epoch)
                return Statuses()

    # --- acquire -------------------------------------------------------------------------------

    def _acquire(self, ask: Acquire) -> Acquired:
        knocks: Knocks = defaultdict(list)
        for offer in ask.offers:
            self._store_offer(offer, knocks)
        grants = [self._regrant(row) for row in self._do("granted_by_nonce", nonce=ask.nonce, master=ask.master)]
        for row in self._candidates(ask.free_slots - len(grants)):
            grant = self._try_grant(row, ask, alone=not ask.running and not grants)
            if grant is not None:
                grants.append(grant)
            if grant is not None and grant.attempt >= ALONE_FROM:
                break
        return Acquired(grants, [Knock(gateway, job, who, ending) for (gateway, job, ending), who in knocks.items()])

    def _candidates(self, room: int) -> list[tuple[Any, ...]]:
        """The most urgent jobs, expired leases first (P5)."""
        if room <= 0:
            return []
        expired = self._do("expired_leases", many=room).fetchall() if self._may_reap else []
        return expired + self._do("waiting_jobs", many=room - len(expired)).fetchall()

    def _store_offer(self, offer: Offer, knocks: Knocks) -> None:
        digest = hashlib.sha256(offer.kind.encode() + b"\0" + offer.spec).digest()
        key = {"client": offer.client, "request": offer.request}
        known = self._do("find_waiter", **key).fetchone()
        if known is not None and known[0] != RequestRow.EXPECTED:
            self._repeat(offer, known, digest, knocks)
            return
        full = self._do("count_live", client=offer.client).fetchone()[0] >= self._limits.live_requests
        event = RequestEvent.REFUSE if full else RequestEvent.OFFER
        state = step(REQUEST_TABLE, RequestRow.EXPECTED, event)
        job = None if full else self._join_or_add(offer)
        values = {"spec_digest": digest, "job": job, "state": state, "stream": int(offer.stream), **key}
        if known is None:
            self._do("gateway_known", gateway=offer.gateway)
            self._do("add_waiter", gateway=offer.gateway, epoch=offer.epoch, **values)
        else:
            self._do("fill_waiter", **values)
            if offer.epoch > known[4]:
                self._do("move_waiter", gateway=offer.gateway, epoch=offer.epoch, **key)
        if full:
            knocks[offer.gateway, 0, REFUSED_ENDING].append((offer.client, offer.request))

    def _repeat(self, offer: Offer, known: tuple[Any, ...], digest: bytes, knocks: Knocks) -> None:
        """A repeated offer starts nothing (P3). Made over a newer connection, it brings the request there (P2).

        A request that has ended meanwhile is knocked for again; an id that is used up is answered as taken.
        """
        row, stored_digest, job, gateway, epoch = known
        who = (offer.client, offer.request)
        status = self._status(offer.request, RequestRow(row), job)
        if stored_digest not in (None, digest) or status.state is RequestState.EXPIRED:
            if offer.epoch >= epoch:
                knocks[offer.gateway, 0, TAKEN_ENDING].append(who)
            return
        if offer.epoch > epoch:
            gateway = offer.gateway
            self._do("gateway_known", gateway=gateway)
            self._do("move_waiter", gateway=gateway, epoch=offer.epoch, client=offer.client, request=offer.request)
        if status.ending is not None:
            knocks[gateway, status.job, status.ending].append(who)

    def _join_or_add(self, offer: Offer) -> int:
        """The run that this offer may share (P9), or a new one."""
        run = self._do("find_run", kind=offer.kind, run_key=offer.run_key).fetchone()
        if run is not None:
            job, started_at = run
            if started_at is None or started_at >= self._now - offer.fresh_s:
                return int(job)
            self._do("close_run", job=job)
        added = self._do(
            "add_job",
            run_key=offer.run_key,
            kind=offer.kind,
            spec=offer.spec,
            rank=self._now - offer.priority * self._limits.ageing_s,
            deadline=self._now + offer.max_seconds,
        )
        return int(added.lastrowid or 0)

    def _try_grant(self, row: tuple[Any, ...], ask: Acquire, alone: bool) -> Grant | None:
        """Grant the job, or end it, or hold it back."""
        job, state, kind, spec, attempt, beaten, cancel, deadline = row
        lost = state == JobState.RUNNING and beaten
        attempt += int(bool(lost))
        if cancel:
            self._end(job, None, JobEvent.CANCEL, Ending(Outcome.CANCELLED))
            return None
        if attempt >= self._limits.attempts:
            text = f"the job lost its master {attempt} times without finishing a level; it was given up"
            failure = Failure(ErrorCode.GAVE_UP, text)
            self._end(job, None, JobEvent.FAIL, Ending(Outcome.FAILED, failure=failure))
            return None
        if lost and attempt > 1:
            self._do("hold_back", job=job, attempt=attempt, not_before=self._now + BACKOFF_S * (attempt - 1))
            return None
        if attempt >= ALONE_FROM and not alone:
            return None
        token = self._do("next_token").fetchone()[0]
        self._do(
            "grant",
            job=job,
            state=step(JOB_TABLE, JobState(state), JobEvent.GRANT),
            token=token,
            nonce=ask.nonce,
            master=ask.master,
            lease_until=self._now + self._limits.lease_s,
            attempt=attempt,
        )
        return self._regrant((job, token, kind, spec, attempt, deadline))

    def _regrant(self, row: tuple[Any, ...]) -> Grant:
        job, token, kind, spec, attempt, deadline = row
        remaining_s = max(0.0, deadline - self._now)
        return Grant(job, token, kind, spec, self._limits.lease_s, attempt, remaining_s, self.watchers(job))

    # --- endings -------------------------------------------------------------------------------

    def _complete(self, done: Complete) -> Completed:
        state, token, ending, _ = self._do("find_job", job=done.job).fetchone() or (None, None, None, None)
        if token != done.token:
            return Completed(Verdict.LOST)
        if state in LIVE_JOBS:
            self._end(done.job, done.token, EVENT_OF_OUTCOME[done.ending.outcome], done.ending)
        elif ending is None or READ_ENDING(ending).token != done.token:
            return Completed(Verdict.LOST)
        return Completed(Verdict.OK, self.watchers(done.job))

    def _end(self, job: int, token: int | None, event: JobEvent, ending: Ending) -> None:
        state, current = self._do("find_job", job=job).fetchone()[:2]
        token = current if token is None else token
        ended = step(JOB_TABLE, JobState(state), event)
        stamped = msgspec.structs.replace(ending, token=token)
        self._do("end_job", job=job, token=token, state=ended, ending=pack(stamped))
        self._do("drop_stale_parts", job=job, token=token if ending.parts else -1)

    def _ending(self, row: RequestRow, job: int | None) -> Ending | None:
        found = self._do("find_job", job=job).fetchone() if job is not None else None
        return request_ending(row, READ_ENDING(found[2]) if found is not None and found[2] is not None else None)

    def watchers(self, job: int) -> list[Watcher]:
        """The connected requests that wait for the job, 1000 at most (P24)."""
        return [
            Watcher(client, request, at, bool(stream)) for client, request, at, stream in self._do("watchers", job=job)
        ]

    # --- requests ------------------------------------------------------------------------------

    def _attach(self, ask: Attach, request: str) -> RequestStatus:
        key = {"client": ask.client, "request": request}
        known = self._do("find_waiter", **key).fetchone()
        self._do("gateway_known", gateway=ask.gateway)
        if known is None:
            self._expect(ask.client, request, RequestRow.EXPECTED, ask.gateway, ask.epoch)
            return RequestStatus(request, RequestState.WAITING)
        self._do("move_waiter", gateway=ask.gateway, epoch=ask.epoch, **key)
        return self._status(request, RequestRow(known[0]), known[2])

    def _status(self, request: str, row: RequestRow, job: int | None) -> RequestStatus:
        if row is RequestRow.ACKED:
            return RequestStatus(request, RequestState.EXPIRED)
        ending = self._ending(row, job)
        if ending is not None:
            return RequestStatus(request, RequestState.ENDED, job or 0, ending)
        if job is not None and self._do("find_job", job=job).fetchone() is None:
            return RequestStatus(request, RequestState.EXPIRED)
        return RequestStatus(request, RequestState.WAITING, job or 0)

    def _expect(self, client: bytes, request: str, state: RequestRow, gateway: str, epoch: int) -> None:
        values = {"client": client, "request": request, "state": state, "gateway": gateway, "epoch": epoch}
        self._do("add_waiter", spec_digest=None, job=None, stream=0, **values)

    def _settle(self, client: bytes, request: str, event: RequestEvent) -> Statuses:
        """Acknowledge or leave; a request that is not stored yet gets its row, so that its offer finds it (P12)."""
        known = self._do("find_waiter", client=client, request=request).fetchone()
        if known is None:
            state = step(REQUEST_TABLE, RequestRow.EXPECTED, event)
            self._expect(client, request, state, "", 0)
            return Statuses([self._status(request, state, None)])
        job = known[2]
        row = self.leave(client, request, RequestRow(known[0]), job)  # who acknowledges unfinished work gives it up
        if event is RequestEvent.ACKNOWLEDGE and row is not RequestRow.ACKED:
            row = step(REQUEST_TABLE, row, event)
            self._do("set_waiter_state", client=client, request=request, state=row)
        return Statuses([self._status(request, row, job)])

    def leave(self, client: bytes, request: str, row: RequestRow, job: int | None) -> RequestRow:
        """The client gives the request up; a job that nobody else waits for is cancelled, and its ending is theirs."""
        if row not in (RequestRow.EXPECTED, RequestRow.WAITING) or self._ending(row, job) is not None:
            return row
        if job is not None and not self._do("count_others", job=job, client=client, request=request).fetchone()[0]:
            self._cancel(job)
            return row
        row = step(REQUEST_TABLE, row, RequestEvent.LEAVE)
        self._do("set_waiter_state", client=client, request=request, state=row)
        return row

    def _cancel(self, job: int) -> None:
        found = self._do("find_job", job=job).fetchone()
        if found is None:
            return
        if found[0] == JobState.WAITING:
            self._end(job, None, JobEvent.CANCEL, Ending(Outcome.CANCELLED))
        else:
            self._do("request_cancel", job=job)

    # --- leases, parts, sweeps -----------------------------------------------------------------

    def beat(self, beat: LeaseBeat) -> LeaseAnswer:
        """Renew one lease, if the token is still the job's."""
        renewed = self._do(
            "beat",
            job=beat.job,
            token=beat.token,
            level=beat.level,
            growth=beat.growth,
            progress=beat.progress,
            lease_until=self._now + self._limits.lease_s,
        ).fetchone()
        if renewed is None:
            return LeaseAnswer(Verdict.LOST)
        return LeaseAnswer(Verdict.CANCEL if renewed[0] else Verdict.OK, self.watchers(beat.job))

    def put_part(self, part: PutPart) -> Verdict:
        """Store one part under a token that is still the job's."""
        done = self._do("put_part", job=part.job, token=part.token, seq=part.seq, data=part.data)
        return Verdict.OK if done.rowcount else Verdict.LOST

    def sweep(self, sweep: Sweep) -> Swept:
        """What ended for the gateway's connected clients, and what never came."""
        self._do("gateway_beat", gateway=sweep.gateway)
        knocks: dict[tuple[int, RequestRow], Knock] = {}
        for client, request, state, job, blob in self._do("swept", gateway=sweep.gateway, many=MAX_IDS):
            row = RequestRow(state)
            ending = request_ending(row, READ_ENDING(blob) if blob is not None else None)
            if ending is not None:
                knock = knocks.setdefault((job or 0, row), Knock(sweep.gateway, job or 0, [], ending))
                knock.requests.append((client, request))
        before = self._now - self._limits.expect_s
        unknown = self._do("never_offered", gateway=sweep.gateway, before=before, many=MAX_IDS).fetchall()
        return Swept(list(knocks.values()), [(client, request) for client, request in unknown])

    # --- time ----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Move the ticking row; after a gap in it nobody is reaped for one lease."""
        self._do("tick", no_reap_before=self._no_reap_before)

    def end_overdue(self, many: int) -> None:
        """End jobs past their deadline, cancelled ones whose master is gone, and requests past their grace."""
        if not self._may_reap:
            return
        for job, _, _ in self._do("overdue_jobs", many=many).fetchall():
            self._end(job, None, JobEvent.EXPIRE, Ending(Outcome.EXPIRED))
        for job, _, _ in self._do("abandoned_jobs", many=many).fetchall():
            self._end(job, None, JobEvent.CANCEL, Ending(Outcome.CANCELLED))
        before = self._now - self._limits.grace_s
        for name in ("gone", "gone_with_gateway"):
            for client, request, state, job in self._do(name, before=before, many=many).fetchall():
                self.leave(client, request, RequestRow(state), job)

    def delete_old(self, many: int) -> None:
        """Forget outcomes past the retention; their requests stay as long again, to be told `expired` (P28)."""
        before = self._now - self._limits.retention_s
        for (job,) in self._do("retired_jobs", before=before, many=many).fetchall():
            for name in ("delete_results", "delete_job"):
                self._do(name, job=job)
        self._do("delete_waiters", before=before - self._limits.retention_s, many=many)
        self._do("delete_gateways", before=before)
