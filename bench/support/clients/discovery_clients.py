"""Very many clients that find their gateway through discovery.

``python -m bench.support.clients.discovery_clients FIRST PORT [PORT …]``

Ports are those of discovery's replicas on 127.0.0.1, FIRST is the number of the first client's address. It is commanded
by lines on standard input:

``come N``        starts N more clients at this moment; answers ``coming``
``stats``         answers the figures of `Figures` as JSON: how many clients there are and how many of them are
                  connected, and what happened since ``mark``
``mark``          resets the counters; answers ``marked``
``waited SECONDS``  answers two numbers about the clients that started since ``mark``: the longest time in seconds that
                  one of them waited for its connection, and the longest without the client's own pauses. The time
                  counts from SECONDS (monotonic), or from the start of the client when that was later

Each client does what the Python client does, by the same rules and times (`roost.client.route`,
`roost.client.backoff`): it asks a random replica, and the others when that one does not answer. It connects to the
gateways in the answer, with their tickets. When none accepts it, it pauses with full jitter, or for Retry-After with up
to 50 % jitter. It reconnects when its connection ends.

All clients use bare sockets and one epoll set, so that the load is light.
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
    """Failed attempts, by reason."""
    most_refused: int = 0
    """The most refusals of one client."""


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
    """Start and end of each pause."""
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
        """Start more clients now."""
        now = time.monotonic()
        for _ in range(count):
            client = self._make(self._next, random.sample(self._replicas, len(self._replicas)), now)
            self._next += 1
            self._all.append(client)
            self._ask(client)

    def _make(self, number: int, replicas: list[int], now: float) -> DiscoveryClient:
        return DiscoveryClient(number, replicas, now)

    def mark(self) -> None:
        """Reset the counters."""
        self._marked_s = time.monotonic()
        self.lost = 0
        self.refusals.clear()
        for client in self._all:
            client.refusals = 0

    def figures(self) -> Figures:
        """Return the figures since the mark."""
        connected = sum(client.is_open for client in self._all)
        most = max((client.refusals for client in self._all), default=0)
        return Figures(len(self._all), connected, self.lost, dict(self.refusals), most)

    def waited_s(self, served_s: float) -> tuple[float, float]:
        """See ``waited``."""
        whole, awake = 0.0, 0.0
        for client in self._all:
            if client.came_s >= self._marked_s:
                since_s = max(client.came_s, served_s)
                paused_s = sum(max(end_s - max(start_s, since_s), 0.0) for start_s, end_s in client.pauses)
                wait_s = client.opened_s - since_s
                whole, awake = max(whole, wait_s), max(awake, wait_s - paused_s)
        return whole, awake

    def serve(self, seconds: float) -> None:
        """Handle input and due timers for this time."""
        for fd, _ in self._epoll.poll(seconds, 1000):
            client = self._by_fd.get(fd)
            if client is not None and client.on_ready is not None:
                client.on_ready(client)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            self._ask(heapq.heappop(self._due)[2])
        for queue in self._deadlines.values():
            while queue and queue[0][0] <= now:
                _, tries, client = queue.popleft()
                if client.tries == tries and not client.is_open and client.raw is not None:
                    self._fail(client, "no answer in time")

    def close(self) -> None:
        """Close every connection without a close frame."""
        for client in self._all:
            self._drop(client)
        self._epoll.close()

    # One client's way.

    def _ask(self, client: DiscoveryClient) -> None:
        """Ask discovery, the next replica of those that were not asked at this try."""
        self._connect(client, client.replicas[client.turn], QUESTION, self._hear_discovery, ASK_S)

    def _ask_gateway(self, client: DiscoveryClient) -> None:
        port, ticket = client.choices[0]
        request = self.request.replace(b"GET / ", f"GET /?ticket={ticket} ".encode(), 1)
        self._connect(client, port, request, self._hear_gateway, OPEN_S)

    def _connect(
        self,
        client: DiscoveryClient,
        port: int,
        request: bytes,
        hear: Callable[[DiscoveryClient], None],
        patience_s: float,
    ) -> None:
        client.heard, client.tries = b"", client.tries + 1
        try:
            client.raw = call(port, address(client.number))
        except ConnectionError:
            self._fail(client, "nobody listens")
            return

        def speak(client: DiscoveryClient) -> None:
            assert client.raw is not None
            try:
                client.raw.send(request)
            except OSError:
                self._fail(client, "no connection")
                return
            self._epoll.modify(client.raw.fileno(), select.EPOLLIN)
            client.on_ready = hear

        client.on_ready = speak
        self._by_fd[client.raw.fileno()] = client
        self._epoll.register(client.raw.fileno(), select.EPOLLOUT)
        self._deadlines[patience_s].append((time.monotonic() + patience_s, client.tries, client))

    def _read(self, client: DiscoveryClient) -> bytes | None:
        """Take received bytes; empty at the end of the stream, None when the connection broke."""
        assert client.raw is not None
        try:
            return client.raw.recv(READ_BYTES)
        except OSError:
            return None

    def _hear_discovery(self, client: DiscoveryClient) -> None:
        data = self._read(client)
        if data:
            client.heard += data
            return
        head, _, body = client.heard.partition(b"\r\n\r\n")
        if data is None or not head:
            self._fail(client, "discovery broke off")
        elif not head.startswith(b"HTTP/1.1 200"):
            client.told_s = _retry_after(head)
            self._fail(client, f"discovery said {head[9:12].decode()}")
        else:
            self._take(client, body)

    def _take(self, client: DiscoveryClient, body: bytes) -> None:
        self._drop(client)
        try:
            found = read_assignment(body)
        except DecodeError:
            self._fail(client, "discovery broke off")
            return
        choices = [Choice(found.url, found.ticket), *found.alternates]
        client.choices = [(int(choice.url.rpartition(":")[2]), choice.ticket) for choice in choices]
        self._ask_gateway(client)

    def _hear_gateway(self, client: DiscoveryClient) -> None:
        data = self._read(client)
        client.heard += data or b""
        head, end, rest = client.heard.partition(b"\r\n\r\n")
        if not data:
            self._fail(client, "gateway broke off")
        elif end and not head.startswith(b"HTTP/1.1 101"):
            client.told_s = _retry_after(head)
            self._fail(client, f"gateway said {head[9:12].decode()}")
        elif end:
            client.heard, client.on_ready = b"", self._hear_frames
            self._upgraded(client)
            self._answer(client, rest)

    def _upgraded(self, client: DiscoveryClient) -> None:
        """The gateway accepted the connection."""
        client.is_open, client.opened_s = True, time.monotonic()
        client.choices.clear()

    def _hear_text(self, client: DiscoveryClient, text: bytes) -> None:
        """A bare gateway says nothing."""

    def _hear_frames(self, client: DiscoveryClient) -> None:
        data = self._read(client)
        if data:
            self._answer(client, data)
        else:
            self._lose(client, BROKEN)

    def _answer(self, client: DiscoveryClient, data: bytes) -> None:
        found, client.heard = split(client.heard + data)
        for kind, payload in found:
            if client.raw is None:
                return
            try:
                if kind == PING_KIND:
                    client.raw.send(PONG)
                elif kind == TEXT_KIND:
                    self._hear_text(client, payload)
                elif kind == CLOSE_KIND:
                    client.raw.send(CLOSE)
                    self._lose(client, int.from_bytes(payload[:2], "big"))
                    return
            except OSError:
                self._lose(client, BROKEN)
                return

    def _lose(self, client: DiscoveryClient, code: int) -> None:
        """The connection ended: reconnect as the close code requires."""
        self.lost += 1
        client.is_open = False
        self._drop(client)
        now = time.monotonic()
        if now - client.opened_s >= STEADY_S:
            client.backoff.succeed()
        at_once = comeback(code) is not Comeback.PAUSE and client.backoff.failures == 0
        pause_s = client.backoff.fail(random.random())
        self._pause(client, 0.0 if at_once else pause_s)

    def _fail(self, client: DiscoveryClient, why: str) -> None:
        """A request failed: try the next alternate or replica, or pause."""
        self._drop(client)
        self.refusals[why] += 1
        client.refusals += 1
        if client.choices:
            client.choices.pop(0)
            if client.choices:
                self._ask_gateway(client)
                return
        elif client.turn + 1 < len(client.replicas):
            client.turn += 1
            self._ask(client)
            return
        told_s, client.told_s, client.turn = client.told_s, None, 0
        self._pause(client, client.backoff.fail(random.random(), told_s))

    def _pause(self, client: DiscoveryClient, pause_s: float) -> None:
        now = time.monotonic()
        client.pauses.append((now, now + pause_s))
        heapq.heappush(self._due, (now + pause_s, client.number, client))

    def _drop(self, client: DiscoveryClient) -> None:
        if client.raw is not None:
            del self._by_fd[client.raw.fileno()]
            client.raw.close()
            client.raw = None


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
