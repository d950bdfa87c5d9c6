"""The store port: where jobs, requests and results are safe. Only lock servers use it.

What a call answers is durable (I1). Every write about a job compares its token in the same statement (I4), and
every write may be repeated: the second time changes nothing and answers the same. Time is the store's own; it
never goes back, not over a restart either (P30).
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
"""How long a grant holds without a beat (P13)."""
TICK_GAP_S = 3.0
"""A longer silence of the ticking row means that the store, not the masters, was away (P15)."""
SWEPT_WITHIN_S = 15.0
"""A gateway that runs and reaches the store has a sweep committed at least so often: one each 10 s, and its answer."""
TWO_SWEEPS_S = 2 * SWEPT_WITHIN_S + 2.0
"""Two chances of a gateway to say that it is there, and a margin for the answers. Stands in 0006.sql too."""
BACKOFF_S = 2.0
"""A job whose lease was lost n times waits n times as long before it is granted again (P16)."""
ALONE_FROM = 2
"""From this many lost leases on a job is granted only to a master that runs nothing else (P16)."""
ALONE_WAIT_S = 30.0
"""After so long without such a master one is kept free for the job (P16): a master's usual jobs end sooner."""
RESERVED_S = 10.0
"""A master that is kept free and does not ask for so long is gone; a living one asks every second (P5)."""
READ_KEEPS_S = 600.0
"""A result that is being read stays at least so much longer (P28): a slow client gets all of it."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Times and bounds that the store keeps."""

    lease_s: float = LEASE_S
    retention_s: float = 24 * 3600.0
    """Outcomes are kept this long (P28): a client may be away overnight."""
    grace_s: float = 120.0
    """A client away for longer leaves its unfinished requests (P26): a phone changes networks within a minute."""
    expect_s: float = 60.0
    """A request heard of whose offer does not come within this time is unknown (P12)."""
    live_requests: int = 1
    """Live requests of one client (P10)."""
    ageing_s: float = 60.0
    """Waiting this long is worth one step of priority (P5): nothing starves."""
    attempts: int = 5
    """A job that loses so many leases without finishing a level is failed (P16)."""

    @property
    def grace_after_outage_s(self) -> float:
        """Nobody is left before this time (seconds) after an outage of the store (P15).

        An outage starts every grace anew, because nobody could come back while it lasted; and every gateway has two
        chances to sweep, however short the grace is.
        """
        return max(self.grace_s, TWO_SWEEPS_S)


class Store(Protocol):
    """Jobs, requests, results and the gateways that ask for them."""

    async def start(self) -> None:
        """Open, create what is missing. Raises Unavailable, or Misuse when the data is of a newer program."""

    async def decide(self, decisions: list[Decision]) -> list[Answer]:
        """Make the decisions in order, in one transaction; an answer each.

        A decision that fails on its data is answered `Refused` and leaves no trace; the others hold (P19).
        Who waits for a job may be told as of the end of the transaction, when the answers are given.
        Raises Unavailable: then none or all of them were made.
        """

    async def beat(self, renewals: list[LeaseRenewal]) -> list[LeaseAnswer]:
        """Renew leases; a beat on an expired lease whose token is still current renews it (P13)."""

    async def put_part(self, part: PutPart) -> Verdict:
        """Store a part under the token, or LOST. A part put twice is kept once."""

    async def read_parts(self, wanted: ReadParts) -> list[bytes]:
        """Parts in order from `first` on, fewer than `count` at the end; none after the retention.

        To read keeps the result for a while, so that its next parts are there too (P28).
        """

    async def sweep(self, poll: GatewayPoll) -> FinishedRequests:
        """Note that the gateway lives; its ended, unacknowledged requests whose clients are connected.

        The note is committed before the search begins, so that a search that fails does not undo it.
        Those whose offer has not come are told after `expect_s`, then each time their age has doubled (P12).
        """

    async def waiting_count(self, most: int) -> int:
        """How many jobs wait to be granted, counted up to `most`."""

    async def tick(self) -> None:
        """Once a second from every lock server: moves time, ends what is past its deadline, grace or retention.

        Bounded work a call (P28).
        """

    async def stop(self) -> None:
        """Flush and close; fine to call twice."""
