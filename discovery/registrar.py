"""What every component runs to be known: beats to each replica of discovery, and what comes back.

Replicas share nothing, so each hears every beat and answers for itself; one that just started is whole
again after one beat. One round takes one snapshot (P31) and sends it to all replicas at once; a replica that does not
answer within the interval is left for a later round. Its beat is not taken back: while a crowd knocks, a connection
waits its turn at discovery's door, and who gives up and comes again stands at the end. Redeemed tickets are repeated
to a replica until it acknowledged a beat that carried them, or until they would have expired anyway.

While no replica answers, the last answer stands: discovery away means that nobody new is found, not that
anything stops.

Use::

    registrar = Registrar(["http://127.0.0.1:8000"], ComponentKind.GATEWAY, lambda: gateway.url, gateway.vitals)
    stack = ServiceGroup([gateway, registrar])      # the registrar starts last, so it is drained first
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import aiohttp

from roost.discovery.core.table import INTERVAL_S, TICKET_S
from roost.discovery.heartbeats import MAX_REDEEMED
from roost.wire.auth import NO_SECRET, InternalSecret
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.codec import pack
from roost.wire.errors import RoostError, Unavailable
from roost.wire.messages.moving import MAX_ENDPOINTS, Endpoint, GatewayDirectives, ReserveEndpoints, read_endpoints
from roost.wire.messages.registry import Beat, BeatAnswer, ComponentKind, read_beat_answer

log = logging.getLogger(__name__)

_INTERVAL_BOUNDS_S = (0.02, 60.0)
_SHORTEST_WAIT_S = 0.5
_PATIENCE_S = 10.0
"""How long a beat is on its way before it is given up; 4,096 connections can stand at discovery's door."""
_OUTAGES = (aiohttp.ClientError, OSError, TimeoutError, RoostError, ValueError)


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One snapshot of a component, taken together (P31).

    `capacity` and `load` are connections for a gateway, running jobs or tasks elsewhere. `redeemed` are the
    serials of tickets redeemed since the snapshot before this one: each is given once, the registrar repeats it.
    `moving` of a gateway's load have been told to go elsewhere.
    """

    capacity: int
    load: int
    lag_ms: float = 0.0
    redeemed: Sequence[bytes] = ()
    counters: Mapping[str, float] = field(default_factory=dict)
    moving: int = 0


class _Replica:
    """One replica of discovery, as this component sees it."""

    def __init__(self, url: str) -> None:
        self.beat_url = url.rstrip("/") + "/v1/beat"
        self.places_url = url.rstrip("/") + "/v1/places"
        self.acknowledged = 0
        self.answer: BeatAnswer | None = None
        self.answers_now = False
        self.asked: asyncio.Task[str | None] | None = None
        """The last beat: why it did not count, or None. The next one waits for its end."""


class Registrar:
    """Beats for one component until it is stopped.

    `replicas` are base URLs of discovery (none: the component is on its own, which is fine). `address` is asked at
    each beat, so it may be known only once the component started; it is empty for one that nobody connects to.
    `follow` hears what discovery asks of it, after each round of beats.
    """

    def __init__(
        self,
        replicas: Sequence[str],
        kind: ComponentKind,
        address: Callable[[], str],
        snapshot: Callable[[], ComponentStatus],
        *,
        incarnation: str = "",
        version: str = "",
        labels: Mapping[str, str] = MappingProxyType({}),
        follow: Callable[[GatewayDirectives], None] = lambda _: None,
        secret: InternalSecret = NO_SECRET,
        interval_s: float = INTERVAL_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.incarnation = incarnation or new_incarnation()
        self._replicas = [_Replica(url) for url in sorted(replicas)]
        self._kind, self._address, self._snapshot = kind, address, snapshot
        self._version, self._clock = version, clock
        self._labels, self._follow = dict(labels), follow
        self._headers = secret.headers()
        self._interval_s = interval_s
        self._sequence = 0
        self._redeemed: list[tuple[int, float, bytes]] = []
        self._draining = False
        self._is_ending = False
        self._late_ms = 0.0
        self._lost = False
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None

    def locks(self) -> list[str]:
        """Addresses of live lock servers, as last heard from any replica; sorted."""
        return sorted({lock for replica in self._replicas if replica.answer for lock in replica.answer.locks})

    def workers(self) -> list[str]:
        """Live workers by incarnation, as last heard from any replica; sorted. Only a worker is told."""
        return sorted({name for replica in self._replicas if replica.answer for name in replica.answer.workers})

    def is_known(self) -> bool:
        """At least one replica answered the last round of beats."""
        return any(replica.answers_now for replica in self._replicas)

    async def start(self) -> None:
        """Beat once to all replicas, then on and on. A discovery that is away is no error."""
        if self._task is not None or not self._replicas:
            return
        self._session = aiohttp.ClientSession(headers=self._headers, trust_env=False)
        await self._beat_round()
        self._task = asyncio.create_task(self._beat_on(), name=f"registrar-{self._kind}")

    async def drain(self) -> None:
        """Tell every replica at once that nobody new is to be sent here; beats go on."""
        self._draining = self._is_ending = True
        if self._session is None:
            return
        was_asked = any(replica.asked is not None and not replica.asked.done() for replica in self._replicas)
        await self._beat_round()
        if was_asked:
            await self._beat_round()  # what was on its way before had not said so

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            asked = [replica.asked for replica in self._replicas if replica.asked is not None]
            for beat in asked:
                beat.cancel()
            await asyncio.gather(self._task, *asked, return_exceptions=True)
            self._task = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def reserve(self, count: int, *, is_leaving: bool) -> list[Endpoint]:
        """Places at other gateways for so many clients of this one, from the first replica that answers.

        Fewer where there are fewer, or more than one request may ask for; none while no replica answers.
        """
        body = pack(ReserveEndpoints(self.incarnation, min(count, MAX_ENDPOINTS), is_leaving))
        for replica in sorted(self._replicas, key=lambda replica: not replica.answers_now):
            try:
                return read_endpoints(await self._post(replica.places_url, body, self._round_s)).places
            except _OUTAGES as problem:
                log.info("no places", extra={"action": "no_places", "reason": _reason(replica.places_url, problem)})
        return []

    async def _beat_on(self) -> None:
        due = self._clock.monotonic()
        while True:
            due = max(due + self._interval_s, self._clock.monotonic())
            await self._clock.sleep(due - self._clock.monotonic())
            self._late_ms = max(self._clock.monotonic() - due, 0.0) * 1000
            try:
                await self._beat_round()
            except Exception:
                log.exception("beat failed", extra={"action": "beat_failed", "kind": str(self._kind)})

    async def _beat_round(self) -> None:
        vitals = self._snapshot()
        self._sequence += 1
        self._note_redeemed(vitals.redeemed)
        asked = [self._ask(replica, vitals) for replica in self._replicas]
        await asyncio.wait(asked, timeout=self._round_s)
        self._tell_of_change(
            [self._outcome(replica, beat) for replica, beat in zip(self._replicas, asked, strict=True)]
        )
        answers = [replica.answer for replica in self._replicas if replica.answers_now and replica.answer]
        if answers:
            low, high = _INTERVAL_BOUNDS_S
            self._interval_s = min(max(min(answer.interval_s for answer in answers), low), high)
            await self._obey([answer.directions for answer in answers])

    @property
    def _round_s(self) -> float:
        return max(self._interval_s, _SHORTEST_WAIT_S)

    def _ask(self, replica: _Replica, vitals: ComponentStatus) -> asyncio.Task[str | None]:
        """The beat that is on its way to the replica; a new one, when there is none."""
        if replica.asked is None or replica.asked.done():
            replica.asked = asyncio.create_task(self._beat(replica, vitals, self._sequence))
        return replica.asked

    def _outcome(self, replica: _Replica, beat: asyncio.Task[str | None]) -> str | None:
        if beat.done():
            return beat.result()
        replica.answers_now = False
        return f"{replica.beat_url}: no answer yet"

    async def _obey(self, asked: Sequence[GatewayDirectives]) -> None:
        """Follow an operator's order of any replica; how many clients to give away the first alone says.

        All gateways have the same first one, as far as their lists name the same URLs (`roost.discovery.core.balance`).
        """
        orders = [directions for directions in asked if directions.leave is not None]
        if self._is_ending:
            return
        if not orders:
            self._follow(asked[0])
        elif orders[0].leave != self._draining:
            self._draining = bool(orders[0].leave)
            self._follow(orders[0])
            await self._beat_round()  # nobody new is to be sent here meanwhile

    def _note_redeemed(self, serials: Sequence[bytes]) -> None:
        now = self._clock.monotonic()
        everywhere = min(replica.acknowledged for replica in self._replicas)
        kept = [entry for entry in self._redeemed if entry[0] > everywhere and entry[1] > now]
        kept.extend((self._sequence, now + TICKET_S, serial) for serial in serials)
        self._redeemed = kept[-MAX_REDEEMED:]

    async def _beat(self, replica: _Replica, vitals: ComponentStatus, sequence: int) -> str | None:
        """Send one beat to one replica; why it did not count, or None."""
        body = pack(self._make_beat(replica, vitals, sequence))
        try:
            answer = read_beat_answer(await self._post(replica.beat_url, body, _PATIENCE_S))
        except _OUTAGES as problem:
            replica.answers_now = False
            return _reason(replica.beat_url, problem)
        replica.answer = answer
        replica.acknowledged = max(replica.acknowledged, sequence)
        replica.answers_now = True
        return None

    async def _post(self, url: str, body: bytes, patience_s: float) -> bytes:
        """The answer of one replica. Raises one of `_OUTAGES`."""
        if self._session is None:
            raise Unavailable("discovery", "the registrar does not run")
        timeout = aiohttp.ClientTimeout(total=patience_s)
        async with self._session.post(url, data=body, timeout=timeout) as response:
            if response.status == 401:
                raise Unavailable("discovery", "it refuses us: set ROOST_SECRET to what discovery was started with")
            if response.status != 200:
                raise Unavailable("discovery", f"the answer was {response.status}")
            return await response.read()

    def _make_beat(self, replica: _Replica, vitals: ComponentStatus, sequence: int) -> Beat:
        return Beat(
            kind=self._kind,
            incarnation=self.incarnation,
            sequence=sequence,
            address=self._address(),
            capacity=vitals.capacity,
            load=vitals.load,
            lag_ms=vitals.lag_ms or self._late_ms,
            version=self._version,
            draining=self._draining,
            redeemed=[serial for since, _, serial in self._redeemed if since > replica.acknowledged],
            counters=dict(vitals.counters),
            labels=self._labels,
            replicas=len(self._replicas),
            moving=vitals.moving,
        )

    def _tell_of_change(self, problems: Sequence[str | None]) -> None:
        lost = all(problems)
        if lost and not self._lost:
            log.warning("discovery lost", extra={"action": "discovery_lost", "reason": problems[0]})
        if self._lost and not lost:
            log.warning("discovery is back", extra={"action": "discovery_back"})
        self._lost = lost


def _reason(url: str, problem: Exception) -> str:
    return f"{url}: {str(problem) or type(problem).__name__}"


def new_incarnation() -> str:
    """A name for one life of one component."""
    return secrets.token_hex(8)
