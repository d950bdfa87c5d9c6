"""Clients that request an echo once a second, commanded by lines on standard input.

``python -m bench.support.clients.echo_clients PORT COUNT``

``run SECONDS`` lets each of COUNT clients, each with its own source address, send a message once a second, spread
evenly, and answers with a JSON object (`Found`). Every message is different, and its echo must be identical; a client
that receives anything else, or whose connection ends, counts as an error, and is not used again.
"""

from __future__ import annotations

import json
import math
import os
import select
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field

from bench.support.clients.client_bytes import (
    BINARY_KIND,
    PING_KIND,
    PONG,
    address,
    masked,
    upgraded,
)

PERIOD_S = 1.0
"""Seconds between two messages of a client."""

PATIENCE_S = 3.0
"""How long to wait for missing echoes at the end of a run."""

MESSAGE_BYTES = 32


@dataclass
class Found:
    """The results of one run. A client sends no message while the one before it is unanswered."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0
    unanswered: int = 0

    def quantile_ms(self, share: float) -> float:
        """Return the time within which this share (0 to 1) of the echoes came; infinity when there is none."""
        if not self.latencies_ms:
            return math.inf
        ordered = sorted(self.latencies_ms)
        return ordered[max(-int(-len(ordered) * share // 1), 1) - 1]


class EchoClients:
    """The clients, and what each of them waits for."""

    def __init__(self, port: int, count: int) -> None:
        self._count = count
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        try:
            for index in range(count):
                self._open(port, index)
        except BaseException:
            self.close()
            raise
        self._waiting: dict[int, tuple[float, bytes]] = {}
        """When the message was sent, and its payload."""
        self._heard: dict[int, bytes] = {}
        """Beginnings of frames."""

    def _open(self, port: int, index: int) -> None:
        raw = upgraded(port, address(index))
        raw.setblocking(False)
        self._sockets[raw.fileno()] = raw
        self._epoll.register(raw.fileno(), select.EPOLLIN)

    def run(self, seconds: float) -> Found:
        """Send messages for `seconds`. Clients that an earlier run lost count as errors of this one, too."""
        found = Found(errors=self._count - len(self._sockets))
        since_s = now_s = time.monotonic()
        turns = deque((since_s + index * PERIOD_S / self._count, fd) for index, fd in enumerate(self._sockets))
        while now_s < since_s + seconds or (self._waiting and now_s < since_s + seconds + PATIENCE_S):
            while turns and turns[0][0] <= now_s < since_s + seconds:
                due_s, fd = turns.popleft()
                if fd in self._sockets:
                    turns.append((due_s + PERIOD_S, fd))
                    self._send(fd, found)
            for fd, _ in self._epoll.poll(0.001):
                if fd in self._sockets:
                    self._hear(fd, found)
            now_s = time.monotonic()
        found.unanswered = len(self._waiting)
        self._waiting.clear()
        return found

    def close(self) -> None:
        """Close all connections without a close frame."""
        for raw in self._sockets.values():
            raw.close()
        self._epoll.close()

    def _send(self, fd: int, found: Found) -> None:
        if fd in self._waiting:
            return
        payload = os.urandom(MESSAGE_BYTES)
        self._waiting[fd] = time.monotonic(), payload
        try:
            self._sockets[fd].send(masked(BINARY_KIND, payload))
        except OSError:
            self._lose(fd, found)

    def _hear(self, fd: int, found: Found) -> None:
        try:
            data = self._sockets[fd].recv(4096)
        except OSError:
            data = b""
        if not data:
            self._lose(fd, found)
            return
        data = self._heard.pop(fd, b"") + data
        while len(data) >= 2 and len(data) >= (end := 2 + data[1]):
            kind, payload, data = data[0], data[2:end], data[end:]
            if kind == PING_KIND:
                self._sockets[fd].send(PONG)
            elif kind == BINARY_KIND and fd in self._waiting and payload == self._waiting[fd][1]:
                sent_s, _ = self._waiting.pop(fd)
                found.latencies_ms.append((time.monotonic() - sent_s) * 1e3)
            else:
                self._lose(fd, found)
                return
        if data:
            self._heard[fd] = data

    def _lose(self, fd: int, found: Found) -> None:
        found.errors += 1
        self._waiting.pop(fd, None)
        self._sockets.pop(fd).close()


def main() -> None:
    """Obey lines until standard input ends."""
    honest = EchoClients(*(int(word) for word in sys.argv[1:]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(honest.run(float(line.split()[1])))), flush=True)


if __name__ == "__main__":
    main()
