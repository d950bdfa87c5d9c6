"""A worker's share of the places of one host, as a lease: who may ask how much, exactly. Pure.

**The rule.** All workers together have at most `whole` requests to a host in flight, at every moment, as long as they
reach one cache that forgets nothing. A share shrinks at once, and grows only when those who hold the rest let go of it.
(This holds apart from robots.txt: the requests for it need no place.)

**How.** The claims of all workers are one value in the cache (`board.Board`), which changes only by compare-and-swap.
A worker reads it, works out its next claim, and swaps the whole value; if somebody else was faster it works the claim
out again from what is there now. So the claims on a board never add up to more than `whole` through a swap:

* *Growing.* The larger claim must fit beside all others, and it counts only once the cache has said that the swap was
  made. While that is unknown the worker keeps to the smaller one.
* *Shrinking.* The worker keeps to the smaller claim before it sends the swap. While its lease lasts, a claim is never
  smaller than what is in flight, so others get a place only after its request is over.
* *Late commands.* A swap without an answer may still be made later, but only on the board that it was worked out from.
  Any renewal in between has changed a stamp, and then it is void.

**Time.** A claim is good for `LEASE_S` from before its swap was *sent*, by its holder's monotonic clock; requests begin
only while it is, and those still in flight at its end are cut off by a timer. Others take a claim for dead when they
have seen the same stamp for `SURE_S`, by their own clock, from after the answer came in which they first *saw* it. That
is after it was sent, so the holder's time is over first, whatever delays there were. No clock is compared with another;
their rates may differ by a quarter (`GRACE_S`).

What becomes of it:

===========================  ==========================================================================================
a worker comes               it gets what nobody claims, and the rest as others renew (`RENEW_S`) and their requests end
a worker leaves              it takes its claim off the board
a worker is killed           its claim counts until others have seen it unchanged for `SURE_S`
a worker stands still        (SIGSTOP) the same. When it goes on its lease is over: nothing begins, except a request
                             whose sending had already begun, and requests are cut off. To the host they were open
                             meanwhile, beside those of others. (A machine that is suspended is not covered: its
                             monotonic clock stands still with it.)
more workers than places     `whole` of them have one place each; every `RENEW_S` those go to the end of the queue, and
                             a worker gives its place back as soon as it has no request for it (`is_crowded`)
the cache is slow            the lease counts from the sending, so it only gets shorter
the cache is away            P32, below
the cache forgets            (flushed, restarted, failed over, out of memory) each worker puts its claim back when it
                             renews. Who had a lease and does not find it on the board does not grow for `SURE_S`, as
                             others have leases too that are not there. Newcomers cannot know of them and may exceed
                             the rule until all have renewed; nothing can prevent that (I5)
===========================  ==========================================================================================

**Without the cache (P32)** each worker takes its part of the places by the number of workers that discovery knows. As
others may hold leases when the cache goes away, for `SURE_S` a worker uses the smaller of part and lease; then no lease
is left and the part counts. A worker that starts meanwhile has no lease, so it asks nothing for that time. When the
cache is back, for `SURE_S` a worker claims no more than its part, as others may not have noticed yet. Workers of which
only some reach the cache, or of which discovery says different things, can exceed the rule: they have no way to know of
each other.

**Cost.** One swap for each `RENEW_S` while a worker asks a host, two when others changed the board meanwhile, one to
leave; with as many workers as places two for each request, or about five when others change the board meanwhile. The
first claim on a host is not larger than the part by discovery, so workers that come together do not wait for each
other; larger ones follow when nobody else has come within `RENEW_S`.
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
"""Three renewals: two may fail."""
RENEW_S = 2.0
RETRY_S = 0.5
"""How soon to look again for places that are ours by right and that others still use."""
GRACE_S = 1.5
CROWDED_S = 5 * RENEW_S
"""So long after it has seen as many claims as places a worker gives its places back whenever it has no request."""
SURE_S = LEASE_S + GRACE_S
KEPT_S = 2 * SURE_S
"""A board lives so long after its last change; by then all its claims are dead."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a worker does with a host: requests in flight, how many it would have, and its part by discovery (P32).

    `is_settling`: the cache was away a short while ago, so others may still go by their parts.
    """

    busy: int
    wanted: int
    part: int
    is_settling: bool = False


@dataclass(frozen=True, slots=True)
class Swap:
    """To be made in the cache, with the answer told to `Lease.answered` or `Lease.unanswered`."""

    old: bytes | None
    new: bytes
    ttl_s: float


class Answer(Enum):
    """What became of a swap."""

    MADE = auto()
    AGAIN = auto()
    """Somebody else was faster: work out another one."""
    NONE = auto()
    """The cache is away: `Lease.unanswered` is to follow."""


class Lease:
    """Worker `name`'s share of one host. Times are monotonic seconds; `wall` is wall-clock seconds.

    One swap at a time. `limit`: a request may begin while fewer are in flight and `until` is not reached. `most`:
    so many may be in flight; those beyond are to be cut off. `hold`: the host's, as far as anybody has told. `stamps`
    gives a number for each claim and never repeats one for this name, so all leases of a worker share it.
    """

    def __init__(self, name: bytes, whole: int, stamps: Iterator[int]) -> None:
        self._name, self.whole, self._stamps = name, whole, stamps
        self.limit = self.most = 0
        self.until = float("-inf")
        self.hold: HostPause | None = None
        self.wanted = 0
        """As last told to the others."""
        self._target = self._room = 0
        self._renew_at = float("-inf")
        self._since: float | None = None
        self._board: bytes | None = None
        self._forgot_until = self._crowded_until = float("-inf")
        self._sent: Swap | None = None
        self._sent_at = 0.0
        self._claim: Claim | None = None
        self._made: Claim | None = None
        """The last claim of which the cache said that it was made."""
        self._is_over = True
        self._seen: dict[bytes, tuple[int, float]] = {}

    def is_due(self, now: float) -> bool:
        """It is time to renew."""
        return now >= self._renew_at

    def is_over(self) -> bool:
        """Nothing is claimed or wanted: no renewals are needed."""
        return self._is_over

    def is_crowded(self, now: float) -> bool:
        """Others may wait for every place that is not in use, because there were as many workers as places lately."""
        return now < self._crowded_until

    def propose(self, use: Use, now: float, wall: float) -> Swap:
        """The next swap. From now on `limit` is not above what it claims."""
        board = read_board(self._board)
        claims = [claim for claim in board.claims if claim.name != self._name and not self._is_dead(claim, now)]
        use = replace(use, wanted=self._foreseen(use, now))
        self._claim, self._target, self._room, self.wanted = None, 0, 0, use.wanted
        if use.busy or use.wanted:
            claims = self._with_ours(claims, self._place(board, claims, now), use, now)
        self.limit = min(self.limit, self._room)
        hold = later(board.hold, self.hold)
        if hold is not None and hold.until <= wall:
            hold = None
        ttl_s = max(KEPT_S, hold.until - wall if hold is not None else 0.0)
        self._sent, self._sent_at = Swap(self._board, pack(Board(claims, hold)), ttl_s), now
        self._renew_at, self._is_over = now + RETRY_S, False
        return self._sent

    def answered(self, found: bytes | None, now: float) -> Answer:
        """`found` is what the cache says that it has after the swap."""
        assert self._sent is not None, "answers follow proposals"
        if found is None and self._sent.old is None:
            return Answer.NONE
        self._look(found, now)
        if found != self._sent.new:
            return Answer.AGAIN
        self._made = self._claim
        held = self._claim.held if self._claim is not None else 0
        self.limit, self.most, self.until = self._room, held, self._sent_at + LEASE_S
        if self.limit == held == self._target:
            self._renew_at = self._sent_at + RENEW_S
        self._since = (self._sent_at if self._since is None else self._since) if self.limit else None
        self._is_over = self._claim is None
        return Answer.MADE

    def unanswered(self, part: int, is_sure: bool, now: float) -> None:
        """The cache is away (P32). `is_sure`: it has been for so long that nobody's lease is left."""
        is_lost = now >= self.until  # others may have taken the places before the cache went away
        if self._claim is None:
            part = 0  # no renewals follow, so whoever comes next must ask for a lease first
        self.limit = part if is_sure else 0 if is_lost else min(self.limit, part)
        if is_sure or now + RENEW_S >= self.until:
            self.most, self.until = self.limit, now + LEASE_S
        self._renew_at = now + (RENEW_S if is_sure else RETRY_S)
        self._is_over = self._claim is None

    def _place(self, board: Board, others: list[Claim], now: float) -> int:
        """Where in the queue we are: where we were, or at its end when we come, or have had our turn."""
        names = [claim.name for claim in board.claims]
        is_crowded = len(others) >= self.whole
        had_turn = self._since is not None and now - self._since >= RENEW_S
        if self._name not in names or (is_crowded and had_turn):
            return len(others)
        before = set(names[: names.index(self._name)])
        return sum(claim.name in before for claim in others)

    def _with_ours(self, others: list[Claim], place: int, use: Use, now: float) -> list[Claim]:
        """The claims with ours at that place, which becomes `_claim`."""
        wanted = [claim.wanted for claim in others]
        wanted.insert(place, use.wanted)
        self._target = min(share_out(self.whole, wanted)[place], self._cap(use, now))
        self._room = min(self._target, max(0, self.whole - sum(claim.held for claim in others)))
        # others may have the places of requests that the end of the lease has cut off and that are not quite over yet
        covered = use.busy if now < self.until else 0
        self._claim = Claim(self._name, next(self._stamps), max(covered, self._room), use.wanted)
        return [*others[:place], self._claim, *others[place:]]

    def _foreseen(self, use: Use, now: float) -> int:
        """What to say is wanted, with fewer swaps than one for each place: a whole part first, twice as many then."""
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
        """While our lease lasts our claim is on the board; if not, the cache has forgotten those of others too."""
        assert self._sent is not None, "answers follow proposals"
        if self._made is None or not self._made.held or now >= self.until or found == self._sent.new:
            return
        if self._made not in board.claims:
            self._forgot_until = now + SURE_S
        elif self._sent.old is None:
            self._forgot_until = float("-inf")  # there was no answer before, and everything is still there


class Contact:
    """Since when a worker has not reached the cache, or has reached it again.

    A new worker knows of no outage: the first command without an answer begins one. A worker that starts while the
    cache is away therefore asks nothing for `SURE_S`, as others may hold leases from before; then it goes by its part.
    A cache in the same process always answers, so nobody waits there.
    """

    def __init__(self) -> None:
        self._away_since = 0.0
        self._is_away = False
        self._settled_at = float("-inf")

    def answered(self, now: float) -> None:
        """The cache has answered."""
        if self._is_away:
            self._settled_at = now + SURE_S
        self._is_away = False

    def unanswered(self, now: float) -> None:
        """It has not."""
        if not self._is_away:
            self._is_away, self._away_since = True, now

    def is_sure(self, now: float) -> bool:
        """It has been away for so long that no lease is left."""
        return self._is_away and now - self._away_since >= SURE_S

    def is_settling(self, now: float) -> bool:
        """It is back, and others may not have noticed yet."""
        return now < self._settled_at
