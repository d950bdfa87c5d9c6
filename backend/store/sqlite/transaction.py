"""One transaction of the SQLite store: its time, its statements, and the operations that all decisions share.

No other writer can run between two statements of a transaction, because SQLite has one writer (BEGIN IMMEDIATE). This
replaces the row locks, taken in a fixed order, of the PostgreSQL store (P11).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from roost.backend.jobs import JOB_TABLE, LIVE_JOBS, JobEvent, JobState, RequestRow, request_ending, step
from roost.backend.store.port import TICK_GAP_S, StoreLimits
from roost.backend.store.stored_outcomes import read_ending
from roost.wire.codec import pack
from roost.wire.messages.lock import RequestRef, RequestState, RequestStatus
from roost.wire.messages.outcome import Ending


class SqliteTransaction:
    """One transaction, begun when the clock showed `seen`; `now` is the store's time, which never goes back (seconds).

    A gap in the ticking row means that the store was unavailable, and not the masters and clients (P15).
    `no_reap_before` is the end of the last gap plus one lease: no lease is lost before it (`may_reap`). No request is
    given up before `StoreLimits.grace_after_outage_s` has passed since the end of that gap (`may_leave`).
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        sql: Mapping[str, str],
        limits: StoreLimits,
        seen: float,
    ) -> None:
        self.db, self._sql, self.limits = db, sql, limits
        stored, ticked_at, no_reap_before = db.execute(sql["read_clock"]).fetchone()
        self.now = now = max(stored, seen)
        self.do("move_clock")
        was_away = abs(seen - ticked_at) > TICK_GAP_S  # abs: a clock that was set back hides how long the gap was
        self.no_reap_before = now + limits.lease_s if was_away else no_reap_before
        self.may_reap = now >= self.no_reap_before
        went_on_at = self.no_reap_before - limits.lease_s
        self.may_leave = now >= went_on_at + limits.grace_after_outage_s

    def do(self, name: str, **values: Any) -> sqlite3.Cursor:
        """Run a named statement with these values and the time as `:now`."""
        return self.db.execute(self._sql[name], {"now": self.now, **values})

    def end(self, job: int, event: JobEvent, ending: Ending | None = None) -> None:
        """End the job as its master says, or by the store itself if `ending` is None.

        The store counts a lease that was lost before. Raises Misuse when the job has already ended.
        """
        state, token, _, _ = self.do("find_job", job=job).fetchone()
        self.do(
            "end_job",
            job=job,
            state=step(JOB_TABLE, JobState(state), event),
            ending=None if ending is None else pack(ending),
            keep_until=self.now + self.limits.retention_s,
            counts_lease=ending is None,
        )
        self.do("drop_stale_parts", job=job, token=token if ending is not None and ending.parts else None)

    def ending(self, row: RequestRow, job: int | None) -> Ending | None:
        """Return how a request with this state and job ended; None while it has not ended."""
        found = self.do("find_job", job=job).fetchone() if job is not None else None
        return request_ending(row, read_ending(*found) if found is not None and found[0] not in LIVE_JOBS else None)

    def waiting_requests(self, job: int) -> list[RequestRef]:
        """Return the connected requests that wait for the job, at most 1000 (P24)."""
        return [
            RequestRef(client, request, at, bool(stream))
            for client, request, at, stream in self.do("watchers", job=job)
        ]

    def status(self, request: str, row: RequestRow, job: int | None) -> RequestStatus:
        """Return the status of a request for its client."""
        if row is RequestRow.ACKED:
            return RequestStatus(request, RequestState.EXPIRED)
        ending = self.ending(row, job)
        if ending is not None:
            return RequestStatus(request, RequestState.ENDED, job or 0, ending)
        if job is not None and self.do("find_job", job=job).fetchone() is None:
            return RequestStatus(request, RequestState.EXPIRED)
        return RequestStatus(request, RequestState.WAITING, job or 0)
