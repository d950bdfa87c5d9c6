"""Very many clients that find their gateway through discovery.

``python -m bench.support.clients.discovery_clients FIRST PORT [PORT …]``

Ports are those of discovery's replicas on 127.0.0.1, FIRST is the number of the first client's address. It is commanded
by lines on standard input:

``come N``        N more clients come, all at this moment; answers ``coming``
``stats``         answers the figures of `Figures` as JSON, of the clients that came last or came back since ``mark``
``mark``          begins to count anew; answers ``marked``
``waited SECONDS``  answers, of clients that came since ``mark``, the longest time in seconds from this moment
                  (monotonic), or from their coming when that was later, to their connection; then the same without
                  their pauses

Each client does what the Python client does, by the same rules and times (`roost.client.route`,
`roost.client.backoff`): it asks a replica at random and the others where that does not answer, knocks at the gateways
named with their tickets, pauses with full jitter when none lets it in, or as long as it is told, give or take a half,
and comes back when its connection ends. It uses bare sockets and one epoll set, so that the load is light.
"""

from __future__ import annotations

import heapq
import json
import random
import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from bench.support.clients.client_bytes import (
    CLOSE,
    CLOSE_KIND,
    PING_KIND,
    PONG,
    REQUEST,
    TEXT_KIND,
    address,
    call,
    split,
)
from bench.support.clients.commanded import run
from roost.client.backoff import STEADY_S, Backoff
from roost.client.route import ASK_S, OPEN_S
from roost.wire.codes import Comeback, comeback
from roost.wire.errors import DecodeError
from roost.wire.messages.registry import Choice, read_assignment

QUESTION = b"GET /v1/gateway HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n"
BROKEN = 1006
READ_BYTES = 16 * 1024


@dataclass
class Figures:
    """What clients saw since ``mark``."""

    present: int = 0
    connected: int = 0
    lost: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    """Tries that ended without a connection, by what they met."""
    most_refused: int = 0
    """Of one client."""


@dataclass(slots=True, eq=False)
class DiscoveryClient:
    """One client. `on_ready` is what it does next when its socket can be written to or read."""

    number: int
    replicas: list[int]
    came_s: float
    raw: socket.socket | None = None
    on_ready: Callable[[DiscoveryClient], None] | None = None
    heard: bytes = b""
    turn: int = 0
    choices: list[tuple[int, str]] = field(default_factory=list)
    """Ports and tickets of the gateways that are still to be tried."""
    told_s: float | None = None
    backoff: Backoff = field(default_factory=Backoff)
    refusals: int = 0
    pauses: list[tuple[float, float]] = field(default_factory=list)
    """When they began and ended."""
    opened_s: float = 0.0
    is_open: bool = False
    tries: int = 0


class DiscoveryClients:
    """All clients of this process."""

    request = REQUEST

    def __init__(self, first: int, replicas: list[int]) -> None:
        self._next, self._replicas = first, replicas
        self._epoll = select.epoll()
        self._by_fd: dict[int, DiscoveryClient] = {}
        self._all: list[DiscoveryClient] = []
        self._due: list[tuple[float, int, DiscoveryClient]] = []
        """Pauses: end time, a number to break ties, and the client."""
        self._deadlines: dict[float, deque[tuple[float, int, DiscoveryClient]]] = {ASK_S: deque(), OPEN_S: deque()}
        """Deadlines of requests, the oldest first: time, attempt, and client."""
        self._marked_s = time.monotonic()
        self.lost = 0
        self.refusals: Counter[str] = Counter()

    def come(self, count: int) -> None:
        """More clients, all now."""
        now = time.monotonic()
        for _ in range(count):
            seeker = self._make(self._next, random.sample(self._replicas, len(self._replicas)), now)
            self._next += 1
            self._all.append(seeker)
            self._ask(seeker)

    def _make(self, number: int, replicas: list[int], now: float) -> DiscoveryClient:
        return DiscoveryClient(number, replicas, now)

    def mark(self) -> None:
        """Count anew from here."""
        self._marked_s = time.monotonic()
        self.lost = 0
        self.refusals.clear()
        for seeker in self._all:
            seeker.refusals = 0

    def figures(self) -> Figures:
        """Since the mark."""
        connected = sum(seeker.is_open for seeker in self._all)
        most = max((seeker.refusals for seeker in self._all), default=0)
        return Figures(len(self._all), connected, self.lost, dict(self.refusals), most)

    def waited_s(self, served_s: float) -> tuple[float, float]:
        """See ``waited``."""
        whole, awake = 0.0, 0.0
        for seeker in self._all:
            if seeker.came_s >= self._marked_s:
                since_s = max(seeker.came_s, served_s)
                paused_s = sum(max(end_s - max(start_s, since_s), 0.0) for start_s, end_s in seeker.pauses)
                wait_s = seeker.opened_s - since_s
                whole, awake = max(whole, wait_s), max(awake, wait_s - paused_s)
        return whole, awake

    def serve(self, seconds: float) -> None:
        """Handle input and due timers for this time."""
        for fd, _ in self._epoll.poll(seconds, 1000):
            seeker = self._by_fd.get(fd)
            if seeker is not None and seeker.on_ready is not None:
                seeker.on_ready(seeker)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            self._ask(heapq.heappop(self._due)[2])
        for queue in self._deadlines.values():
            while queue and queue[0][0] <= now:
                _, tries, seeker = queue.popleft()
                if seeker.tries == tries and not seeker.is_open and seeker.raw is not None:
                    self._fail(seeker, "no answer in time")

    def close(self) -> None:
        """Close every connection without a close frame."""
        for seeker in self._all:
            self._drop(seeker)
        self._epoll.close()

    # One client's way.

    def _ask(self, seeker: DiscoveryClient) -> None:
        """Ask discovery, the next replica of those that were not asked at this try."""
        self._connect(seeker, seeker.replicas[seeker.turn], QUESTION, self._hear_discovery, ASK_S)

    def _knock(self, seeker: DiscoveryClient) -> None:
        port, ticket = seeker.choices[0]
        request = self.request.replace(b"GET / ", f"GET /?ticket={ticket} ".encode(), 1)
        self._connect(seeker, port, request, self._hear_gateway, OPEN_S)

    def _connect(
        self,
        seeker: DiscoveryClient,
        port: int,
        request: bytes,
        hear: Callable[[DiscoveryClient], None],
        patience_s: float,
    ) -> None:
        seeker.heard, seeker.tries = b"", seeker.tries + 1
        try:
            seeker.raw = call(port, address(seeker.number))
        except ConnectionError:
            self._fail(seeker, "nobody listens")
            return

        def speak(seeker: DiscoveryClient) -> None:
            assert seeker.raw is not None
            try:
                seeker.raw.send(request)
            except OSError:
                self._fail(seeker, "no connection")
                return
            self._epoll.modify(seeker.raw.fileno(), select.EPOLLIN)
            seeker.on_ready = hear

        seeker.on_ready = speak
        self._by_fd[seeker.raw.fileno()] = seeker
        self._epoll.register(seeker.raw.fileno(), select.EPOLLOUT)
        self._deadlines[patience_s].append((time.monotonic() + patience_s, seeker.tries, seeker))

    def _read(self, seeker: DiscoveryClient) -> bytes | None:
        """What came; empty at the end, None when the connection broke."""
        assert seeker.raw is not None
        try:
            return seeker.raw.recv(READ_BYTES)
        except OSError:
            return None

    def _hear_discovery(self, seeker: DiscoveryClient) -> None:
        data = self._read(seeker)
        if data:
            seeker.heard += data
            return
        head, _, body = seeker.heard.partition(b"\r\n\r\n")
        if data is None or not head:
            self._fail(seeker, "discovery broke off")
        elif not head.startswith(b"HTTP/1.1 200"):
            seeker.told_s = _retry_after(head)
            self._fail(seeker, f"discovery said {head[9:12].decode()}")
        else:
            self._take(seeker, body)

    def _take(self, seeker: DiscoveryClient, body: bytes) -> None:
        self._drop(seeker)
        try:
            found = read_assignment(body)
        except DecodeError:
            self._fail(seeker, "discovery broke off")
            return
        choices = [Choice(found.url, found.ticket), *found.alternates]
        seeker.choices = [(int(choice.url.rpartition(":")[2]), choice.ticket) for choice in choices]
        self._knock(seeker)

    def _hear_gateway(self, seeker: DiscoveryClient) -> None:
        data = self._read(seeker)
        seeker.heard += data or b""
        head, end, rest = seeker.heard.partition(b"\r\n\r\n")
        if not data:
            self._fail(seeker, "gateway broke off")
        elif end and not head.startswith(b"HTTP/1.1 101"):
            seeker.told_s = _retry_after(head)
            self._fail(seeker, f"gateway said {head[9:12].decode()}")
        elif end:
            seeker.heard, seeker.on_ready = b"", self._hear_frames
            self._upgraded(seeker)
            self._answer(seeker, rest)

    def _upgraded(self, seeker: DiscoveryClient) -> None:
        """The gateway accepted the connection."""
        seeker.is_open, seeker.opened_s = True, time.monotonic()
        seeker.choices.clear()

    def _hear_text(self, seeker: DiscoveryClient, text: bytes) -> None:
        """A bare gateway says nothing."""

    def _hear_frames(self, seeker: DiscoveryClient) -> None:
        data = self._read(seeker)
        if data:
            self._answer(seeker, data)
        else:
            self._lose(seeker, BROKEN)

    def _answer(self, seeker: DiscoveryClient, data: bytes) -> None:
        found, seeker.heard = split(seeker.heard + data)
        for kind, payload in found:
            if seeker.raw is None:
                return
            try:
                if kind == PING_KIND:
                    seeker.raw.send(PONG)
                elif kind == TEXT_KIND:
                    self._hear_text(seeker, payload)
                elif kind == CLOSE_KIND:
                    seeker.raw.send(CLOSE)
                    self._lose(seeker, int.from_bytes(payload[:2], "big"))
                    return
            except OSError:
                self._lose(seeker, BROKEN)
                return

    def _lose(self, seeker: DiscoveryClient, code: int) -> None:
        """The connection ended: reconnect as the close code requires."""
        self.lost += 1
        seeker.is_open = False
        self._drop(seeker)
        now = time.monotonic()
        if now - seeker.opened_s >= STEADY_S:
            seeker.backoff.succeed()
        at_once = comeback(code) is not Comeback.PAUSE and seeker.backoff.failures == 0
        pause_s = seeker.backoff.fail(random.random())
        self._pause(seeker, 0.0 if at_once else pause_s)

    def _fail(self, seeker: DiscoveryClient, why: str) -> None:
        """A request failed: try the next alternate or replica, or pause."""
        self._drop(seeker)
        self.refusals[why] += 1
        seeker.refusals += 1
        if seeker.choices:
            seeker.choices.pop(0)
            if seeker.choices:
                self._knock(seeker)
                return
        elif seeker.turn + 1 < len(seeker.replicas):
            seeker.turn += 1
            self._ask(seeker)
            return
        told_s, seeker.told_s, seeker.turn = seeker.told_s, None, 0
        self._pause(seeker, seeker.backoff.fail(random.random(), told_s))

    def _pause(self, seeker: DiscoveryClient, pause_s: float) -> None:
        now = time.monotonic()
        seeker.pauses.append((now, now + pause_s))
        heapq.heappush(self._due, (now + pause_s, seeker.number, seeker))

    def _drop(self, seeker: DiscoveryClient) -> None:
        if seeker.raw is not None:
            del self._by_fd[seeker.raw.fileno()]
            seeker.raw.close()
            seeker.raw = None


def _retry_after(head: bytes) -> float | None:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"retry-after":
            return float(value)
    return None


def obey(seekers: DiscoveryClients, words: list[str]) -> str:
    """Return the answer to one command."""
    if words[0] == "come":
        seekers.come(int(words[1]))
        return "coming"
    if words[0] == "mark":
        seekers.mark()
        return "marked"
    if words[0] == "waited":
        return "{:.3f} {:.3f}".format(*seekers.waited_s(float(words[1])))
    return json.dumps(asdict(seekers.figures()))


if __name__ == "__main__":
    everyone = DiscoveryClients(int(sys.argv[1]), [int(port) for port in sys.argv[2:]])
    run(everyone.serve, lambda words: obey(everyone, words))
