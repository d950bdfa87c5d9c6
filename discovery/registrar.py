"""Registers a component with discovery: sends heartbeats to every replica and handles the answers.

Replicas share nothing, so every heartbeat goes to each of them, and each answers by itself; a replica that just started
knows a component again after one heartbeat. Each round takes one snapshot of the component's status and sends it to all
replicas at once. The round does not wait longer than the interval for a replica's answer. A pending heartbeat is not
cancelled: under load, connections queue at discovery, and reconnecting would lose the place in the queue. Redeemed
tickets are repeated to a replica until it has acknowledged a heartbeat that carried them, or until they would have
expired anyway.

While no replica answers, the last answer remains valid: without discovery no new components are found, but nothing
stops.

`docs/protocol/guarantees.md` defines the rules that are cited by number, such as P31.

Use::

    registrar = Registrar(["http://127.0.0.1:8000"], ComponentKind.GATEWAY, lambda: gateway.url, gateway.vitals)
    group = ServiceGroup([gateway, registrar])      # the registrar starts last, so it is drained first
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
_BEAT_TIMEOUT_S = 10.0
"""Timeout of one heartbeat; up to 4,096 connections can queue at discovery before it is served."""
_OUTAGES = (aiohttp.ClientError, OSError, TimeoutError, RoostError, ValueError)


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """The state of a component in one snapshot, all values from the same moment (P31).

    `capacity` and `load` count connections for a gateway, running jobs or tasks for other components. `redeemed` has
    the serials of tickets redeemed since the previous snapshot; each appears once, and the registrar repeats it where
    needed. `moving` is how many connections of a gateway's load have been told to move to another gateway.
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
        """The last heartbeat sent; its result says why it failed, or is None. The next one is sent after its end."""


class Registrar:
    """Sends heartbeats for one component until it is stopped.

    `replicas` are base URLs of discovery; without any, nothing is sent. `address` is called for each heartbeat, so the
    address may become known only when the component has started; it is empty for a component that accepts no
    connections. `follow` is called after each round of heartbeats with discovery's directives.
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
        """Addresses of live lock servers, from the last answers of all replicas; sorted."""
        return sorted({lock for replica in self._replicas if replica.answer for lock in replica.answer.locks})

    def workers(self) -> list[str]:
        """Incarnations of live workers, from the last answers of all replicas; sorted. Only workers receive them."""
        return sorted({name for replica in self._replicas if replica.answer for name in replica.answer.workers})

    def is_known(self) -> bool:
        """Whether at least one replica answered the last round of heartbeats."""
        return any(replica.answers_now for replica in self._replicas)

    async def start(self) -> None:
        """Send one round of heartbeats, then go on in the background. It is no error when discovery does not answer."""
        if self._task is not None or not self._replicas:
            return
        self._session = aiohttp.ClientSession(headers=self._headers, trust_env=False)
        await self._beat_round()
        self._task = asyncio.create_task(self._beat_on(), name=f"registrar-{self._kind}")

    async def drain(self) -> None:
        """Tell every replica at once to send no new clients here; heartbeats continue."""
        self._draining = self._is_ending = True
        if self._session is None:
            return
        was_asked = any(replica.asked is not None and not replica.asked.done() for replica in self._replicas)
        await self._beat_round()
        if was_asked:
            await self._beat_round()  # the heartbeat that was pending did not say that this component drains

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
        """Reserve endpoints at other gateways for `count` clients of this one, at the first replica that answers.

        Returns fewer where less capacity is free or `count` exceeds the limit of one request, and none while no replica
        answers.
        """
        body = pack(ReserveEndpoints(self.incarnation, min(count, MAX_ENDPOINTS), is_leaving))
        for replica in sorted(self._replicas, key=lambda replica: not replica.answers_now):
            try:
                return read_endpoints(await self._post(replica.places_url, body, self._round_s)).places
            except _OUTAGES as problem:
                reason = _reason(replica.places_url, problem)
                log.info("reserving endpoints failed", extra={"action": "no_places", "reason": reason})
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
                log.exception("heartbeat failed", extra={"action": "beat_failed", "kind": str(self._kind)})

    async def _beat_round(self) -> None:
        status = self._snapshot()
        self._sequence += 1
        self._note_redeemed(status.redeemed)
        asked = [self._ask(replica, status) for replica in self._replicas]
        await asyncio.wait(asked, timeout=self._round_s)
        self._log_change([self._outcome(replica, beat) for replica, beat in zip(self._replicas, asked, strict=True)])
        answers = [replica.answer for replica in self._replicas if replica.answers_now and replica.answer]
        if answers:
            low, high = _INTERVAL_BOUNDS_S
            self._interval_s = min(max(min(answer.interval_s for answer in answers), low), high)
            await self._obey([answer.directions for answer in answers])

    @property
    def _round_s(self) -> float:
        return max(self._interval_s, _SHORTEST_WAIT_S)

    def _ask(self, replica: _Replica, status: ComponentStatus) -> asyncio.Task[str | None]:
        """The pending heartbeat to the replica; a new one when there is none."""
        if replica.asked is None or replica.asked.done():
            replica.asked = asyncio.create_task(self._beat(replica, status, self._sequence))
        return replica.asked

    def _outcome(self, replica: _Replica, beat: asyncio.Task[str | None]) -> str | None:
        if beat.done():
            return beat.result()
        replica.answers_now = False
        return f"{replica.beat_url}: no answer yet"

    async def _obey(self, answered: Sequence[GatewayDirectives]) -> None:
        """Follow an operator's order from any replica. Only the first replica decides how many clients to give away.

        The first replica is the same for all gateways whose lists have the same URLs (`roost.discovery.core.balance`).
        """
        orders = [directions for directions in answered if directions.leave is not None]
        if self._is_ending:
            return
        if not orders:
            self._follow(answered[0])
        elif orders[0].leave != self._draining:
            self._draining = bool(orders[0].leave)
            self._follow(orders[0])
            await self._beat_round()  # so that no new clients are sent here meanwhile

    def _note_redeemed(self, serials: Sequence[bytes]) -> None:
        now = self._clock.monotonic()
        everywhere = min(replica.acknowledged for replica in self._replicas)
        kept = [entry for entry in self._redeemed if entry[0] > everywhere and entry[1] > now]
        kept.extend((self._sequence, now + TICKET_S, serial) for serial in serials)
        self._redeemed = kept[-MAX_REDEEMED:]

    async def _beat(self, replica: _Replica, status: ComponentStatus, sequence: int) -> str | None:
        """Send one heartbeat to one replica; returns why it failed, or None."""
        body = pack(self._make_beat(replica, status, sequence))
        try:
            answer = read_beat_answer(await self._post(replica.beat_url, body, _BEAT_TIMEOUT_S))
        except _OUTAGES as problem:
            replica.answers_now = False
            return _reason(replica.beat_url, problem)
        replica.answer = answer
        replica.acknowledged = max(replica.acknowledged, sequence)
        replica.answers_now = True
        return None

    async def _post(self, url: str, body: bytes, timeout_s: float) -> bytes:
        """The body of one replica's answer. Raises one of `_OUTAGES`."""
        if self._session is None:
            raise Unavailable("discovery", "the registrar does not run")
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with self._session.post(url, data=body, timeout=timeout) as response:
            if response.status == 401:
                raise Unavailable("discovery", "access refused: set ROOST_SECRET to what discovery was started with")
            if response.status != 200:
                raise Unavailable("discovery", f"the answer was {response.status}")
            return await response.read()

    def _make_beat(self, replica: _Replica, status: ComponentStatus, sequence: int) -> Beat:
        return Beat(
            kind=self._kind,
            incarnation=self.incarnation,
            sequence=sequence,
            address=self._address(),
            capacity=status.capacity,
            load=status.load,
            lag_ms=status.lag_ms or self._late_ms,
            version=self._version,
            draining=self._draining,
            redeemed=[serial for since, _, serial in self._redeemed if since > replica.acknowledged],
            counters=dict(status.counters),
            labels=self._labels,
            replicas=len(self._replicas),
            moving=status.moving,
        )

    def _log_change(self, problems: Sequence[str | None]) -> None:
        lost = all(problems)
        if lost and not self._lost:
            log.warning("discovery unreachable", extra={"action": "discovery_lost", "reason": problems[0]})
        if self._lost and not lost:
            log.warning("discovery reachable again", extra={"action": "discovery_back"})
        self._lost = lost


def _reason(url: str, problem: Exception) -> str:
    return f"{url}: {str(problem) or type(problem).__name__}"


def new_incarnation() -> str:
    """A random instance id for one run of a component."""
    return secrets.token_hex(8)
