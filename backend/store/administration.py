"""The administration port: what operators do with a store beside serving it (``roost store``).

No call needs a lock server. `check` and `stats` change nothing, and need no right but to read. What was done or found
is returned in sentences for a person, each of which says what to do if something is to be done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from roost.wire.errors import Misuse

TOKENS_PER_S = 100_000
"""No store gives out more tokens in a second (measured: a third of it). So a store that was restored goes on after
those that may have been given since its backup, also when it was restored before."""
WATCHED_S = 3.5
"""A lock server moves the clock every second; one whose clock stands still for this long has none."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found: what is wrong, and what is only worth knowing."""

    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __add__(self, other: Findings) -> Findings:
        return Findings(self.wrong + other.wrong, self.notes + other.notes)


class Counted(StrEnum):
    """How the rows of a table were counted."""

    EXACTLY = "exactly"
    FROM_A_SAMPLE = "from a sample"
    NOT = "not"
    """It would have taken too long."""


@dataclass(frozen=True, slots=True)
class Count:
    """So many rows of jobs or requests are alike. `kind` is empty for requests."""

    kind: str
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store holds. Times are seconds since 1970 by the store's time; None where there is nothing."""

    now: float
    jobs: list[Count]
    jobs_counted: Counted
    requests: list[Count]
    requests_counted: Counted
    waiting_since: float | None
    """When the oldest job that waits was created."""
    parts: int
    part_bytes: int
    parts_counted: Counted
    oldest_outcome: float | None
    """When the job ended whose outcome is deleted next."""
    oldest_outcome_kept_until: float | None
    sizes: dict[str, int]
    """Bytes on disk: of each table with its indexes in PostgreSQL, of the files in SQLite."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A store as its backup left it. Times are seconds since 1970 by the store's time."""

    ticked_at: float
    """When a lock server moved its clock last: nothing later is in it."""
    now: float
    waiting: int
    running: int
    overdue: int
    """Those of the waiting and running jobs whose deadline has passed since."""
    ended: int
    forgotten: int
    """Those of the ended jobs whose retention has passed since."""

    def sentences(self) -> list[str]:
        """Return what the backup holds, what is lost, and what happens with the jobs."""
        ago = span(max(0.0, self.now - self.ticked_at))
        return [
            f"The backup is of {moment(self.ticked_at)}, {ago} ago. What was stored since is lost: clients whose "
            "requests are not in it are told so and send them again, and jobs that have ended since run again.",
            f"Jobs that waited then: {self.waiting:,}; that ran: {self.running:,}. All of them wait for a master from "
            f"now on; the deadline of {self.overdue:,} has passed since, and these are answered as expired.",
            f"Jobs that had ended then: {self.ended:,}. Their clients get the outcome; the retention of "
            f"{self.forgotten:,} has passed since, and these are deleted.",
        ]

    def next_number(self, last: int) -> int:
        """Return a token or job id above all that were given after `last`, the last one in the backup (P30)."""
        elapsed_s = max(0.0, self.now - self.ticked_at) if self.ticked_at > 0 else 0.0
        return max(last + int(TOKENS_PER_S * elapsed_s), int(self.now * 1000)) + 1


class Administration(Protocol):
    """Operates on one store. Calls raise Unavailable, and Misuse when the store or the user's rights forbid them."""

    async def expectation(self) -> list[str]:
        """Return what `migrate` is going to do and how long that may take; nothing when it takes no time."""

    async def migrate(self, grant_to: str = "") -> list[str]:
        """Bring the store to this version. Returns what was done.

        `grant_to` is a role of the database that gets the rights that lock servers need, and no others.
        """

    async def check(self) -> Findings:
        """Look for what is wrong. Changes nothing."""

    async def stats(self) -> Stats:
        """Count what is stored, in bounded time. Changes nothing."""

    async def look_back(self) -> Backup:
        """Return what a store that was brought back from a backup holds. Takes `WATCHED_S`.

        Raises Misuse while a lock server uses it.
        """

    async def go_on(self, backup: Backup) -> list[str]:
        """Make a store that was brought back from a backup ready for use. Returns what was done.

        Tokens and job ids go on above all that were ever given, and the leases that the backup holds are void. Raises
        Misuse when a lock server has used it since `look_back`.
        """


def check_unused(first: Backup, second: Backup) -> None:
    """Raise Misuse when a lock server has used the store between the two looks, or none ever has."""
    if second.ticked_at <= 0:
        raise Misuse("no lock server has ever used this store: bring the backup back first")
    if first.ticked_at != second.ticked_at:
        raise used_meanwhile()


def used_meanwhile() -> Misuse:
    """Return the error for a store that a lock server uses, which may have given out tokens since the backup."""
    return Misuse("a lock server uses this store at this moment: stop all lock servers first")


def restored(token: int, job: int, voided: int) -> list[str]:
    """Return what was done to a store that was restored."""
    return [
        f"Tokens go on after {token}, and job ids after {job}: none that was given since the backup is given again.",
        f"Leases that were ended: {voided:,}. Masters that still run these jobs are told that they have lost them.",
        "Start the lock servers now. Clients that still wait connect again, and get their results or are told.",
    ]


def moment(seconds: float) -> str:
    """Return a time for a person."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float) -> str:
    """Return a duration for a person, in the greatest unit of which there are two."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
