"""Makes the decisions of the lock protocol (`roost.wire.messages.lock`) in the SQLite store.

The code is synchronous and runs inside one transaction. `roost.backend.store.sqlite.acquire` makes acquire decisions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import product

from msgspec.structs import replace

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
from roost.backend.store.port import READ_KEEPS_S
from roost.backend.store.sqlite.acquire import Acquisition
from roost.backend.store.sqlite.transaction import SqliteTransaction
from roost.backend.store.stored_outcomes import read_ending
from roost.wire.codec import pack
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, Misuse
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
    GatewayPoll,
    JobFinished,
    LeaseAnswer,
    LeaseRenewal,
    PutPart,
    Refused,
    Release,
    RequestState,
    RequestStatus,
    Statuses,
    Verdict,
)


class SqliteDecisions(SqliteTransaction):
    """The calls of the store, each in a transaction of its own."""

    # --- decisions -----------------------------------------------------------------------------

    def decide_all(self, decisions: Sequence[Decision]) -> list[Answer]:
        """Make decisions in order. Who waits for a job is read at the end, after all of them."""
        answers = [self.decide(decision) for decision in decisions]
        return [self._with_watchers(decision, answer) for decision, answer in zip(decisions, answers, strict=True)]

    def _with_watchers(self, decision: Decision, answer: Answer) -> Answer:
        if isinstance(answer, Acquired):
            grants = [replace(grant, watchers=self.waiting_requests(grant.job)) for grant in answer.grants]
            return replace(answer, grants=grants)
        if isinstance(decision, Complete) and isinstance(answer, Completed) and answer.verdict is Verdict.OK:
            return replace(answer, watchers=self.waiting_requests(decision.job))
        return answer

    def decide(self, decision: Decision) -> Answer:
        """Make one decision in its own savepoint; a decision that fails is answered `Refused` (P19)."""
        self.db.execute("SAVEPOINT decision")
        try:
            answer = self._dispatch(decision)
        except (BadInput, Misuse, sqlite3.IntegrityError, sqlite3.DataError, UnicodeError, OverflowError) as problem:
            self.db.execute("ROLLBACK TO decision")
            answer = Refused(ErrorCode.BAD_MESSAGE, f"{type(decision).__name__} refused: {problem}")
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
        state, token = (self.do("find_job", job=done.job).fetchone() or (None, None))[:2]
        if token != done.token:
            return Completed(Verdict.LOST)
        event = EVENT_OF_OUTCOME[done.ending.outcome]
        if state == JobState.WAITING and event is JobEvent.DONE:
            raise Misuse("the job was given back and nobody runs it")
        if state in LIVE_JOBS:
            self.do(
                "complete_job",
                job=done.job,
                token=done.token,
                state=step(JOB_TABLE, JobState(state), event),
                ending=pack(done.ending),
                keep_until=self.now + self.limits.retention_s,
            )
            self.do("delete_parts", job=done.job, kept_token=done.token if done.ending.parts else None)
        return Completed(Verdict.OK)

    # --- requests ------------------------------------------------------------------------------

    def _attach(self, attach: Attach, request: str) -> RequestStatus:
        key = {"client": attach.client, "request": request}
        known = self.do("find_request", **key).fetchone()
        self.do("gateway_known", gateway=attach.gateway)
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
        self.do("set_request_state", client=client, request=request, state=row)
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

    def beat(self, renewal: LeaseRenewal) -> LeaseAnswer:
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

    def see_gateway(self, gateway: str) -> None:
        """Record that the gateway is alive."""
        self.do("see_gateway", gateway=gateway)

    def sweep(self, poll: GatewayPoll) -> FinishedRequests:
        """Return the finished requests of the gateway's connected clients, and those whose offer never came."""
        finished: dict[tuple[int, RequestRow], JobFinished] = {}
        for client, request, state, job, *how in self.do("swept", gateway=poll.gateway, many=MAX_IDS):
            row = RequestRow(state)
            ending = request_ending(row, read_ending(*how) if row is RequestRow.WAITING else None)
            if ending is not None:
                entry = finished.setdefault((job or 0, row), JobFinished(poll.gateway, job or 0, [], ending))
                entry.requests.append((client, request))
        expect_s = self.limits.expect_s
        unknown = self.do("never_offered", gateway=poll.gateway, expect_s=expect_s, many=MAX_IDS).fetchall()
        for client, request in unknown:
            self.do("told_unknown", client=client, request=request)
        return FinishedRequests(list(finished.values()), [(client, request) for client, request in unknown])

    def keep_read(self, job: int, token: int) -> None:
        """Extend the retention of a result that is being read, so that its next parts can be read too (P28)."""
        self.do("keep_read", job=job, token=token, keep_until=self.now + READ_KEEPS_S)

    # --- time ----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Advance the ticking row, and record where a gap in it ended."""
        self.do("tick", no_reap_before=self.no_reap_before)

    def end_overdue(self, many: int) -> None:
        """End jobs past their deadline, and cancelled jobs whose lease has expired."""
        if not self.may_reap:
            return
        for (job,) in self.do("overdue_jobs", many=many).fetchall():
            self.end(job, JobEvent.EXPIRE)
        for (job,) in self.do("abandoned_jobs", many=many).fetchall():
            self.end(job, JobEvent.CANCEL)

    def leave_gone(self, many: int) -> None:
        """Give up unfinished requests whose client, or whose gateway, was away for longer than the grace (P26)."""
        if not self.may_leave:
            return
        before = self.now - self.limits.grace_s
        for client, request, state, job in self.do("gone", before=before, many=many).fetchall():
            self.leave(client, request, RequestRow(state), job)
            self.do("grace_is_over", client=client, request=request)  # so that the next tick need not read it again
        for client, request, state, job in self.do("gone_with_gateway", before=before, many=many).fetchall():
            self.leave(client, request, RequestRow(state), job)

    def delete_old(self, many: int) -> None:
        """Delete outcomes past the retention. Their requests stay as long again, to be answered `expired` (P28)."""
        for (job,) in self.do("retired_jobs", many=many).fetchall():
            self.do("delete_job", job=job)
        retention_s = self.limits.retention_s
        self.do("delete_requests", before=self.now - 2 * retention_s, many=many)
        self.do("delete_gateways", before=self.now - retention_s)
