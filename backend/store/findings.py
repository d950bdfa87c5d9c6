"""What rows of a store tell about its health, in sentences; the same for all engines. Pure.

Each engine has the named statements in its ``administration.sql``; each returns one row with the columns that are read
here. Times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from roost.backend.store.administration import Findings, moment, span
from roost.backend.store.port import LEASE_S, TICK_GAP_S

LEASE_LOST_S = 10 * LEASE_S
"""A lease that ended so long ago (seconds) should have been given to another master."""
WAITS_LONG_S = 600.0
AHEAD_S = 60.0
"""The time of a store may be ahead of the server's by so much (seconds): time services correct less than that."""

Row = Mapping[str, Any]


def judge(name: str, row: Row) -> Findings:
    """Return what the row of the named statement tells."""
    return FINDERS[name](row)


def ticks(clock: Row) -> bool:
    """Whether lock servers move the clock."""
    return bool(clock["now"] - clock["ticked_at"] <= TICK_GAP_S)


def _clock(row: Row) -> Findings:
    wrong, notes = [], []
    if row["ticked_at"] <= 0:
        wrong.append("No lock server has used this store yet: start one, `roost lock`.")
    elif not ticks(row):
        silent = span(row["now"] - row["ticked_at"])
        wrong.append(
            f"No lock server has moved the clock for {silent}, so nothing is granted, ended or deleted: start one, "
            "`roost lock`, or see in its log why it cannot reach the store."
        )
    if row["ahead"] > AHEAD_S:
        notes.append(
            f"The store's time is {span(row['ahead'])} ahead of the server's clock, because that was set back. This "
            "stays, and harms nothing; see that the server's time service works."
        )
    return Findings(wrong, notes)


def _expired_leases(row: Row) -> Findings:
    if not row["count"]:
        return Findings()
    return Findings([
        f"{_jobs(row['count'])} without a master since {moment(row['since'])}, and no other master takes over: start "
        "masters, `roost master`, or see in `roost status` whether all of their slots are in use."
    ])  # fmt: skip


def _waiting(row: Row) -> Findings:
    if not row["count"]:
        return Findings()
    return Findings([
        f"{_jobs(row['count'])} waiting for more than {span(WAITS_LONG_S)}, the oldest since "
        f"{moment(row['since'])}: start more masters and workers, or see in `roost status` whether they are full."
    ])  # fmt: skip


def _lost_requests(row: Row) -> Findings:
    if not row["count"]:
        return Findings()
    return Findings([
        f"Requests ({row['count']:,}) have no job any more, though their retention is not over: somebody deleted it. "
        "Their clients are told that the result is gone; see who else writes to this store."
    ])  # fmt: skip


def _stray_results(row: Row) -> Findings:
    if not row["count"]:
        return Findings()
    return Findings([
        f"Parts of results ({row['count']:,}) belong to no job, and nothing deletes them: delete the rows of the table "
        "results whose job is not in the table jobs."
    ])  # fmt: skip


def _numbers(row: Row) -> Findings:
    wrong = []
    for what, last, greatest in (
        ("tokens", row["last_token"], row["greatest_token"]),
        ("job ids", row["last_job"], row["greatest_job"]),
    ):
        if last is not None and last < greatest:
            wrong.append(
                f"The next of the {what} would be {last + 1}, but {greatest} was given already, so some would be given "
                "twice. The store was restored: stop all lock servers and run `roost store restored`."
            )
    return Findings(wrong)


def _jobs(count: int) -> str:
    return "1 job has been" if count == 1 else f"{count:,} jobs have been"


FINDERS: Mapping[str, Callable[[Row], Findings]] = {
    "clock": _clock,
    "expired_leases": _expired_leases,
    "waiting": _waiting,
    "lost_requests": _lost_requests,
    "stray_results": _stray_results,
    "numbers": _numbers,
}
