"""The store port: durable storage of jobs, requests and results. Only lock servers use it.

Whatever a call has answered is durable (I1). Every write about a job compares the job's token in the same statement
(I4). Every write may be repeated: the second time changes nothing and returns the same answer. The store has its own
time, which never goes back, not even over a restart (P30).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from roost.wire.messages.lock import (
    Answer,
    Decision,
    FinishedRequests,
    GatewayPoll,
    LeaseAnswer,
    LeaseRenewal,
    PutPart,
    ReadParts,
    Verdict,
)

LEASE_S = 6.0
"""How long (seconds) a grant is valid without a renewal (P13)."""
TICK_GAP_S = 3.0
"""A longer gap (seconds) in the ticking row means that the store was unavailable, not the masters (P15)."""
SWEPT_WITHIN_S = 15.0
"""A gateway that reaches the store has a poll committed at least this often: one every 10 s, and its answer."""
TWO_SWEEPS_S = 2 * SWEPT_WITHIN_S + 2.0
"""Time for two polls of a gateway, and a margin for the answers."""
BACKOFF_S = 2.0
"""A job whose lease was lost n times waits n times this long (seconds) before it is granted again (P16)."""
ALONE_FROM = 2
"""From this many lost leases on, a job is granted only to a master that runs nothing else (P16)."""
ALONE_WAIT_S = 30.0
"""After this long without such a master, one is reserved for the job (P16): usual jobs end sooner."""
RESERVED_S = 10.0
"""A reserved master that does not ask for this long counts as gone; a live one asks every second (P5)."""
SEARCH_AGAIN_S = 60.0
"""How often (seconds) the clients of a dead gateway are searched again, for offers that come late."""
READ_KEEPS_S = 600.0
"""A result stays at least this long after each read (P28), so that a slow client gets all of it."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """The times and limits that the store applies."""

    lease_s: float = LEASE_S
    retention_s: float = 24 * 3600.0
    """How long outcomes are kept (P28): a client may be away overnight."""
    grace_s: float = 120.0
    """After this long without its client, an unfinished request is given up (P26): phones reconnect in a minute."""
    expect_s: float = 60.0
    """A request that a client named, but whose offer has not come within this time, is unknown (P12)."""
    live_requests: int = 1
    """Most live requests of one client (P10)."""
    ageing_s: float = 60.0
    """Waiting this long counts as one step of priority (P5), so that no job starves."""
    attempts: int = 5
    """A job that loses this many leases without finishing a level has failed (P16)."""

    @property
    def grace_after_outage_s(self) -> float:
        """For this long (seconds) after an outage of the store, no request is given up (P15).

        Every grace starts again after an outage, because no client could reconnect during it. And every gateway gets
        time for two polls, however short the grace is.
        """
        return max(self.grace_s, TWO_SWEEPS_S)


class Store(Protocol):
    """Stores jobs, requests, results, and the gateways that poll for them."""

    async def start(self) -> None:
        """Open the database and migrate it. Raises Unavailable, or Misuse when a newer version has written it."""

    async def decide(self, decisions: list[Decision]) -> list[Answer]:
        """Make the decisions in order, in one transaction, and return an answer to each.

        A decision that fails because of its data is answered `Refused` and changes nothing; the others are made (P19).
        The requests that wait for a job may be read at the end of the transaction. Raises Unavailable: then either none
        or all of the decisions were made.
        """

    async def beat(self, renewals: list[LeaseRenewal]) -> list[LeaseAnswer]:
        """Renew leases. An expired lease is renewed too, as long as its token is still current (P13)."""

    async def put_part(self, part: PutPart) -> Verdict:
        """Store a part of a result under its token. Returns LOST for an old token. A part put twice is stored once."""

    async def read_parts(self, wanted: ReadParts) -> list[bytes]:
        """Return parts in order from `first` on: fewer than `count` at the end, none after the retention.

        Reading extends the retention for a while, so that the next parts can be read too (P28).
        """

    async def sweep(self, poll: GatewayPoll) -> FinishedRequests:
        """Record that the gateway is alive, and return its finished, unacknowledged requests of connected clients.

        The record is committed before the search begins, so that a failed search does not undo it. Requests whose offer
        has not come are returned as unknown after `expect_s`, and again each time their age has doubled (P12).
        """

    async def waiting_count(self, most: int) -> int:
        """Return how many jobs wait to be granted, counting no further than `most`."""

    async def tick(self) -> None:
        """Advance the time, and process what is past its deadline, grace or retention.

        Every lock server calls this once a second. The work per call is bounded (P28).
        """

    async def stop(self) -> None:
        """Flush and close. It may be called twice."""
