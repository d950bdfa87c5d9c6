"""A worker's share of the request slots of one host, as a lease: how many requests each worker may have in flight.
Pure.

**The rule.** All workers together have at most `whole` requests to a host in flight, at every moment, as long as they
reach one cache that loses no data. A share shrinks at once, and grows only when the workers that hold the rest release
it. (Requests for robots.txt are exempt: they need no slot.)

**How.** The claims of all workers are one value in the cache (`host_board.Board`), which changes only by
compare-and-swap. A worker reads it, computes its next claim, and swaps the whole value; if another worker was faster,
it computes the claim again from the new value. So no swap makes the claims on a board add up to more than `whole`:

* *Growing.* The larger claim must fit beside all others, and it counts only once the cache has confirmed the swap.
  Until then the worker keeps to the smaller one.
* *Shrinking.* The worker keeps to the smaller claim before it sends the swap. While its lease lasts, a claim is never
  smaller than the number of requests in flight, so others get a slot only after its request is over.
* *Late commands.* A swap without an answer may still be executed later, but only on the board that it was computed
  from. Any renewal in between has changed a stamp, and then the swap fails.

**Time.** A claim is valid for `LEASE_S` from before its swap was *sent*, by its holder's monotonic clock; requests
begin only during that time, and a timer cuts off those still in flight at its end. Other workers consider a claim dead
when they have seen the same stamp for `SURE_S`, by their own clock, counted from after the answer in which they first
*saw* it. They saw it after it was sent, so the holder's time ends first, whatever delays there were. Clocks of
different machines are never compared; their rates may differ by a quarter (`GRACE_S`).

What happens in each case:

===========================  ==========================================================================================
a worker starts              it gets the unclaimed slots, and the rest as others renew (`RENEW_S`) and their requests
                             end
a worker stops               it removes its claim from the board
a worker is killed           its claim counts until others have seen it unchanged for `SURE_S`
a worker is suspended        (SIGSTOP) the same. When it continues, its lease is over: no request begins, except one
                             whose sending had already begun, and requests in flight are cut off. Until then the host
                             had them open beside those of others. (A suspended machine is not covered: its monotonic
                             clock stops with it.)
more workers than slots      `whole` of them have one slot each; every `RENEW_S` those go to the end of the queue, and
                             a worker releases its slot as soon as it has no request for it (`is_crowded`)
the cache is slow            the lease counts from the sending, so it only gets shorter
the cache is unreachable     P32, below
the cache loses data         (flushed, restarted, failed over, out of memory) each worker writes its claim again when it
                             renews. A worker that had a lease and does not find it on the board does not grow for
                             `SURE_S`, as other leases may be missing too. New workers cannot know of them and may
                             exceed the rule until all have renewed; nothing can prevent that (I5)
===========================  ==========================================================================================

**Without the cache (P32)** each worker takes an equal part of the slots, by the number of workers that discovery knows.
As others may hold leases when the cache becomes unreachable, for `SURE_S` a worker uses the smaller of part and lease;
then no lease is left and the part counts. A worker that starts meanwhile has no lease, so it sends no request for that
time. When the cache is back, for `SURE_S` a worker claims no more than its part, as others may not have noticed yet.
Workers can exceed the rule if only some of them reach the cache, or if discovery tells them different lists: they have
no way to know of each other.

**Cost.** One swap for each `RENEW_S` while a worker sends requests to a host, two when others changed the board
meanwhile, one at the end; with as many workers as slots two for each request, or about five when others change the
board meanwhile. The first claim on a host is not larger than the part by discovery, so workers that start together do
not wait for each other; larger claims follow when no other worker has come within `RENEW_S`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

from roost.backend.kinds.crawl.politeness.host_board import (
    Board,
    Claim,
    HostPause,
    later,
    read_board,
    share_out,
)
from roost.wire.codec import pack

LEASE_S = 6.0
"""How long a claim is valid: three renewals, of which two may fail."""
RENEW_S = 2.0
RETRY_S = 0.5
"""How soon to look again for slots that this worker is entitled to and that others still use."""
GRACE_S = 1.5
CROWDED_S = 5 * RENEW_S
"""For this long after it has seen as many claims as slots, a worker releases its slots whenever it has no request."""
SURE_S = LEASE_S + GRACE_S
KEPT_S = 2 * SURE_S
"""TTL of a board after its last change; by then all its claims are dead."""


@dataclass(frozen=True, slots=True)
class Use:
    """A worker's use of a host: requests in flight, how many it wants, and its part by discovery (P32).

    `is_settling`: the cache was unreachable a short while ago, so others may still use their parts.
    """

    busy: int
    wanted: int
    part: int
    is_settling: bool = False


@dataclass(frozen=True, slots=True)
class Swap:
    """A compare-and-swap for the cache; its answer goes to `Lease.answered` or `Lease.unanswered`."""

    old: bytes | None
    new: bytes
    ttl_s: float


class Answer(Enum):
    """The outcome of a swap."""

    MADE = auto()
    AGAIN = auto()
    """Another worker was faster: compute a new swap."""
    NONE = auto()
    """The cache did not answer: call `Lease.unanswered` next."""


class Lease:
    """Worker `name`'s share of one host. Times are monotonic seconds; `wall` is wall-clock seconds.

    There is one swap at a time. `limit`: a request may begin while fewer are in flight and `until` is not reached.
    `most`: this many may be in flight; requests beyond it must be cut off. `hold`: the longest pause of the host that
    is known. `stamps` yields a number for each claim and never repeats one for this name, so all leases of a worker
    share it.
    """

    def __init__(self, name: bytes, whole: int, stamps: Iterator[int]) -> None:
        self._name, self.whole, self._stamps = name, whole, stamps
        self.limit = self.most = 0
        self.until = float("-inf")
        self.hold: HostPause | None = None
        self.wanted = 0
        """The number of wanted slots in the last claim."""
        self._target = self._allowed = 0
        self._renew_at = float("-inf")
        self._since: float | None = None
        self._board: bytes | None = None
        self._forgot_until = self._crowded_until = float("-inf")
        self._sent: Swap | None = None
        self._sent_at = 0.0
        self._claim: Claim | None = None
        self._made: Claim | None = None
        """The last claim that the cache has confirmed."""
        self._is_over = True
        self._seen: dict[bytes, tuple[int, float]] = {}

    def is_due(self, now: float) -> bool:
        """Whether the lease must be renewed now."""
        return now >= self._renew_at

    def is_over(self) -> bool:
        """Whether nothing is claimed or wanted, so that no renewals are needed."""
        return self._is_over

    def is_crowded(self, now: float) -> bool:
        """Whether others may wait for every unused slot, because there were as many workers as slots recently."""
        return now < self._crowded_until

    def propose(self, use: Use, now: float, wall: float) -> Swap:
        """Return the next swap. From now on `limit` is not above what it claims."""
        board = read_board(self._board)
        claims = [claim for claim in board.claims if claim.name != self._name and not self._is_dead(claim, now)]
        use = replace(use, wanted=self._foreseen(use, now))
        self._claim, self._target, self._allowed, self.wanted = None, 0, 0, use.wanted
        if use.busy or use.wanted:
            claims = self._with_ours(claims, self._queue_position(board, claims, now), use, now)
        self.limit = min(self.limit, self._allowed)
        hold = later(board.hold, self.hold)
        if hold is not None and hold.until <= wall:
            hold = None
        ttl_s = max(KEPT_S, hold.until - wall if hold is not None else 0.0)
        self._sent, self._sent_at = Swap(self._board, pack(Board(claims, hold)), ttl_s), now
        self._renew_at, self._is_over = now + RETRY_S, False
        return self._sent

    def answered(self, found: bytes | None, now: float) -> Answer:
        """Take the answer to the swap: `found` is the cache's value after it."""
        assert self._sent is not None, "answers follow proposals"
        if found is None and self._sent.old is None:
            return Answer.NONE
        self._look(found, now)
        if found != self._sent.new:
            return Answer.AGAIN
        self._made = self._claim
        held = self._claim.held if self._claim is not None else 0
        self.limit, self.most, self.until = self._allowed, held, self._sent_at + LEASE_S
        if self.limit == held == self._target:
            self._renew_at = self._sent_at + RENEW_S
        self._since = (self._sent_at if self._since is None else self._since) if self.limit else None
        self._is_over = self._claim is None
        return Answer.MADE

    def unanswered(self, part: int, is_sure: bool, now: float) -> None:
        """Continue without the cache (P32). `is_sure`: it has been unreachable for so long that no lease is left."""
        is_lost = now >= self.until  # others may have taken the slots before the cache became unreachable
        if self._claim is None:
            part = 0  # no renewals follow, so the next request must ask for a lease first
        self.limit = part if is_sure else 0 if is_lost else min(self.limit, part)
        if is_sure or now + RENEW_S >= self.until:
            self.most, self.until = self.limit, now + LEASE_S
        self._renew_at = now + (RENEW_S if is_sure else RETRY_S)
        self._is_over = self._claim is None

    def _queue_position(self, board: Board, others: list[Claim], now: float) -> int:
        """Our position in the queue: the same as before, or its end for a new claim or after our turn."""
        names = [claim.name for claim in board.claims]
        is_crowded = len(others) >= self.whole
        had_turn = self._since is not None and now - self._since >= RENEW_S
        if self._name not in names or (is_crowded and had_turn):
            return len(others)
        before = set(names[: names.index(self._name)])
        return sum(claim.name in before for claim in others)

    def _with_ours(self, others: list[Claim], position: int, use: Use, now: float) -> list[Claim]:
        """Return the claims with ours at that position, and set `_claim` to ours."""
        wanted = [claim.wanted for claim in others]
        wanted.insert(position, use.wanted)
        self._target = min(share_out(self.whole, wanted)[position], self._cap(use, now))
        self._allowed = min(self._target, max(0, self.whole - sum(claim.held for claim in others)))
        # others may have the slots of requests that the end of the lease has cut off but that are still ending
        covered = use.busy if now < self.until else 0
        self._claim = Claim(self._name, next(self._stamps), max(covered, self._allowed), use.wanted)
        return [*others[:position], self._claim, *others[position:]]

    def _foreseen(self, use: Use, now: float) -> int:
        """Return how many slots to claim, so that one swap serves several requests.

        The first claim is a whole part; later claims double.
        """
        if not use.wanted:
            return 0
        if self._is_new(now) and use.part < self.whole:
            return max(use.wanted, use.part)
        return max(use.wanted, min(2 * self.wanted, self.whole)) if use.wanted > self.wanted else use.wanted

    def _is_new(self, now: float) -> bool:
        return self._since is None or now - self._since < RENEW_S

    def _cap(self, use: Use, now: float) -> int:
        if self._made is not None and now < self._forgot_until:
            return min(use.part, self._made.held)
        if use.is_settling:
            return use.part
        return max(1, use.part) if self._is_new(now) else self.whole

    def _is_dead(self, claim: Claim, now: float) -> bool:
        stamp, since = self._seen.get(claim.name, (claim.stamp, now))
        return stamp == claim.stamp and now - since >= SURE_S

    def _look(self, found: bytes | None, now: float) -> None:
        if found == self._board:
            return
        self._board, before = found, self._seen
        board = read_board(found)
        self.hold = later(self.hold, board.hold)
        self._notice_loss(found, board, now)
        if len(board.claims) >= self.whole:
            self._crowded_until = now + CROWDED_S
        self._seen = {}
        for claim in board.claims:
            stamp, since = before.get(claim.name, (claim.stamp, now))
            self._seen[claim.name] = (claim.stamp, since if stamp == claim.stamp else now)

    def _notice_loss(self, found: bytes | None, board: Board, now: float) -> None:
        """Detect that the cache lost data.

        While our lease lasts, our claim is on the board; if it is missing, claims of others may be missing too.
        """
        assert self._sent is not None, "answers follow proposals"
        if self._made is None or not self._made.held or now >= self.until or found == self._sent.new:
            return
        if self._made not in board.claims:
            self._forgot_until = now + SURE_S
        elif self._sent.old is None:
            self._forgot_until = float("-inf")  # there was no answer before, and everything is still there


class Contact:
    """Tracks since when the cache has been unreachable, or reachable again.

    A new worker knows of no outage: the first command without an answer begins one. A worker that starts while the
    cache is unreachable therefore sends no request for `SURE_S`, as others may hold leases from before; then it uses
    its part. A cache in the same process always answers, so nothing waits there.
    """

    def __init__(self) -> None:
        self._away_since = 0.0
        self._is_away = False
        self._settled_at = float("-inf")

    def answered(self, now: float) -> None:
        """Note that the cache has answered."""
        if self._is_away:
            self._settled_at = now + SURE_S
        self._is_away = False

    def unanswered(self, now: float) -> None:
        """Note that the cache did not answer."""
        if not self._is_away:
            self._is_away, self._away_since = True, now

    def is_sure(self, now: float) -> bool:
        """Whether the cache has been unreachable for so long that no lease is left."""
        return self._is_away and now - self._away_since >= SURE_S

    def is_settling(self, now: float) -> bool:
        """Whether the cache came back so recently that other workers may not have noticed yet."""
        return now < self._settled_at
