"""Makes the decisions of the lock protocol (`roost.wire.messages.lock`) in the SQLite store.

The code is synchronous and runs inside one transaction. `roost.backend.store.sqlite.acquire` makes acquire decisions.
"""

from __future__ import annotations

import sqlite3
from itertools import product

from roost.backend.jobs import (
    EVENT_OF_OUTCOME,
    JOB_TABLE,
    LIVE_JOBS,
    REQUEST_TABLE,
    JobEvent,
    JobState,
    RequestEvent,
    RequestRow,
    request_ending,
    step,
)
from roost.backend.store.port import READ_KEEPS_S, SEARCH_AGAIN_S
from roost.backend.store.refusals import RELEASED, refused
from roost.backend.store.sqlite.acquire import Acquisition
from roost.backend.store.sqlite.transaction import SqliteTransaction
from roost.backend.store.stored_outcomes import read_ending
from roost.wire.errors import BadInput, Misuse
from roost.wire.messages.client import MAX_IDS
from roost.wire.messages.lock import (
    Acknowledge,
    Acquire,
    Answer,
    Attach,
    CancelRequest,
    Complete,
    Completed,
    Decision,
    Detach,
    FinishedRequests,
    GatewayPoll,
    JobFinished,
    LeaseAnswer,
    LeaseRenewal,
    PutPart,
    ReadParts,
    Release,
    RequestState,
    RequestStatus,
    Statuses,
    Verdict,
)


class SqliteDecisions(SqliteTransaction):
    """The calls of the store, each in a transaction of its own."""

    # --- decisions -----------------------------------------------------------------------------

    def decide(self, decision: Decision) -> Answer:
        """Make one decision in its own savepoint; a decision that fails is answered `Refused` (P19)."""
        self.db.execute("SAVEPOINT decision")
        try:
            answer = self._dispatch(decision)
        except (BadInput, Misuse, sqlite3.IntegrityError, sqlite3.DataError, UnicodeError, OverflowError) as problem:
            self.db.execute("ROLLBACK TO decision")
            answer = refused(decision, str(problem))
        self.db.execute("RELEASE decision")
        return answer

    def _dispatch(self, decision: Decision) -> Answer:
        match decision:
            case Acquire():
                return Acquisition(self).acquire(decision)
            case Complete():
                return self._complete(decision)
            case Release():
                self.do("release", job=decision.job, token=decision.token, state=JobState.WAITING)
                return Statuses()
            case Attach():
                return Statuses([self._attach(decision, request) for request in decision.requests[:MAX_IDS]])
            case Acknowledge():
                return self._settle(decision.client, decision.request, RequestEvent.ACKNOWLEDGE)
            case CancelRequest():
                return self._settle(decision.client, decision.request, RequestEvent.LEAVE)
            case Detach():
                named: list[str | None] = [*decision.requests] or [None]
                for client, request in product(decision.clients, named):
                    self.do("detach", client=client, request=request, gateway=decision.gateway, epoch=decision.epoch)
                return Statuses()

    # --- endings -------------------------------------------------------------------------------

    def _complete(self, done: Complete) -> Completed:
        state, token, _, _ = self.do("find_job", job=done.job).fetchone() or (None, None, None, None)
        if token != done.token:
            return Completed(Verdict.LOST)
        if state in LIVE_JOBS:
            event = EVENT_OF_OUTCOME[done.ending.outcome]
            if event not in JOB_TABLE[JobState(state)]:
                raise Misuse(RELEASED)
            self.end(done.job, event, done.ending)
        return Completed(Verdict.OK, self.waiting_requests(done.job))

    # --- requests ------------------------------------------------------------------------------

    def _attach(self, attach: Attach, request: str) -> RequestStatus:
        key = {"client": attach.client, "request": request}
        known = self.do("find_request", **key).fetchone()
        self.do("add_gateway", gateway=attach.gateway)
        if known is None:
            self._expect(attach.client, request, RequestRow.EXPECTED, attach.gateway, attach.epoch)
            return RequestStatus(request, RequestState.WAITING)
        self.do("move_request", gateway=attach.gateway, epoch=attach.epoch, **key)
        return self.status(request, RequestRow(known[0]), known[2])

    def _expect(self, client: bytes, request: str, state: RequestRow, gateway: str, epoch: int) -> None:
        values = {"client": client, "request": request, "state": state, "gateway": gateway, "epoch": epoch}
        self.do("add_request", spec_digest=None, job=None, stream=0, **values)

    def _settle(self, client: bytes, request: str, event: RequestEvent) -> Statuses:
        """Acknowledge or give up a request. If it is not stored yet, a row is added for its offer (P12)."""
        known = self.do("find_request", client=client, request=request).fetchone()
        if known is None:
            state = step(REQUEST_TABLE, RequestRow.EXPECTED, event)
            self._expect(client, request, state, "", 0)
            return Statuses([self.status(request, state, None)])
        job = known[2]
        row = self.leave(client, request, RequestRow(known[0]), job)  # acknowledging an unfinished request gives it up
        if event is RequestEvent.ACKNOWLEDGE and row is not RequestRow.ACKED:
            row = step(REQUEST_TABLE, row, event)
            self.do("acknowledge", client=client, request=request, state=row)
        return Statuses([self.status(request, row, job)])

    def leave(self, client: bytes, request: str, row: RequestRow, job: int | None) -> RequestRow:
        """Give the request up. If no other one waits for its job, the job is cancelled, and the request with it."""
        if row not in (RequestRow.EXPECTED, RequestRow.WAITING) or self.ending(row, job) is not None:
            return row
        if job is not None and not self.do("count_others", job=job, client=client, request=request).fetchone()[0]:
            self._cancel(job)
            return row
        row = step(REQUEST_TABLE, row, RequestEvent.LEAVE)
        self.do("leave_request", client=client, request=request, state=row)
        return row

    def _cancel(self, job: int) -> None:
        found = self.do("find_job", job=job).fetchone()
        if found is None:
            return
        if found[0] == JobState.WAITING:
            self.end(job, JobEvent.CANCEL)
        else:
            self.do("request_cancel", job=job)

    # --- leases, parts, polls ------------------------------------------------------------------

    def renew(self, renewal: LeaseRenewal) -> LeaseAnswer:
        """Renew one lease, if its token is still current."""
        renewed = self.do(
            "renew",
            job=renewal.job,
            token=renewal.token,
            level=renewal.level,
            progress=renewal.progress,
            lease_until=self.now + self.limits.lease_s,
        ).fetchone()
        if renewed is None:
            return LeaseAnswer(Verdict.LOST)
        return LeaseAnswer(Verdict.CANCEL if renewed[0] else Verdict.OK, self.waiting_requests(renewal.job))

    def put_part(self, part: PutPart) -> Verdict:
        """Store one part, if its token is still current."""
        done = self.do("put_part", job=part.job, token=part.token, seq=part.seq, data=part.data)
        return Verdict.OK if done.rowcount else Verdict.LOST

    def keep_read(self, wanted: ReadParts) -> None:
        """Extend the retention of a result that is being read, so that its next parts can be read too (P28)."""
        self.do("keep_read", job=wanted.job, token=wanted.token, keep=self.now + READ_KEEPS_S)

    def see_gateway(self, gateway: str) -> None:
        """Record that the gateway is alive."""
        self.do("see_gateway", gateway=gateway)

    def sweep(self, poll: GatewayPoll) -> FinishedRequests:
        """Return the finished requests of the gateway's connected clients, and those whose offer never came."""
        finished: dict[tuple[int, RequestRow], JobFinished] = {}
        for client, request, state, job, *ended in self.do("swept", gateway=poll.gateway, many=MAX_IDS):
            row = RequestRow(state)
            ending = request_ending(row, read_ending(*ended) if row is RequestRow.WAITING else None)
            if ending is not None:
                entry = finished.setdefault((job or 0, row), JobFinished(poll.gateway, job or 0, [], ending))
                entry.requests.append((client, request))
        expect_s = self.limits.expect_s
        unknown = self.do("never_offered", gateway=poll.gateway, expect_s=expect_s, many=MAX_IDS).fetchall()
        for client, request in unknown:
            self.do("told_unknown", client=client, request=request)
        return FinishedRequests(list(finished.values()), [(client, request) for client, request in unknown])

    # --- time ----------------------------------------------------------------------------------

    def tick(self, many: int) -> None:
        """Advance the ticking row, record where a gap in it ended, and do what time does: `many` rows of a kind."""
        self.do("tick", no_reap_before=self.no_reap_before)
        self._end_overdue(many)
        self._leave_detached(many)
        self._leave_dead_gateways(many)
        self._delete_old(many)

    def _end_overdue(self, many: int) -> None:
        """End jobs past their deadline, and cancelled jobs whose lease has expired."""
        if not self.may_reap:
            return
        for event, name in (
            (JobEvent.EXPIRE, "overdue_waiting"),
            (JobEvent.EXPIRE, "overdue_running"),
            (JobEvent.CANCEL, "abandoned_jobs"),
        ):
            for (job,) in self.do(name, many=many).fetchall():
                self.end(job, event)

    def _leave_detached(self, many: int) -> None:
        """Give up unfinished requests whose client was away for longer than the grace (P26); each is seen once."""
        if not self.may_leave:
            return
        before = self.now - self.limits.grace_s
        for client, request, state, job in self.do("detached", before=before, many=many).fetchall():
            self.leave(client, request, RequestRow(state), job)
            self.do("end_grace", client=client, request=request)

    def _leave_dead_gateways(self, many: int) -> None:
        """Give up unfinished requests whose gateway died; its clients are away since it was last seen (P26).

        A dead gateway is searched until nothing is left to do, then every `SEARCH_AGAIN_S`, for offers that come late.
        """
        if not self.may_leave:
            return
        before = self.now - self.limits.grace_s
        for (gateway,) in self.do("dead_gateways", before=before, many=many).fetchall():
            found = self.do("unfinished_at", gateway=gateway, many=many).fetchall()
            for client, request, state, job in found:
                self.leave(client, request, RequestRow(state), job)
            many -= len(found)
            if not found:
                self.do("search_later", gateway=gateway, search_at=self.now + SEARCH_AGAIN_S)
            if many <= 0:
                return

    def _delete_old(self, many: int) -> None:
        """Delete outcomes past the retention. Their requests stay as long again, to be answered `expired` (P28)."""
        before = self.now - self.limits.retention_s
        self.do("delete_jobs", many=many)
        self.do("delete_requests", before=before - self.limits.retention_s, many=many)
        self.do("delete_gateways", before=before)
