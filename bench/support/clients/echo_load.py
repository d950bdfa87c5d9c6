"""A light load of echoes, commanded by lines on standard input.

``python -m bench.support.clients.echo_load PORT CONNECTIONS BYTES``

``run SECONDS`` answers ``MESSAGES SECONDS BUSY_S``: echoed messages, the time that took, and this process's own
processor time.

Every connection keeps one message in flight: what comes back is counted in bytes, and the same prepared frame is sent
again, without parsing. For each message that is two system calls and half a microsecond of Python, which is less than
any server needs. If BUSY_S is close to SECONDS, the load was the bottleneck and not the server.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Iterable

from bench.support.clients.idle_clients import REQUEST
from roost.gateway.io.batch import write_frames

MAX_BYTES = 125
"""Most bytes of a message: a frame with a header of 2 bytes and a key."""


class Echoes:
    """Connections to an echo server, at rest between runs."""

    def __init__(self, port: int, connections: int, size: int) -> None:
        self._message = bytes((0x82, 0x80 | size)) + os.urandom(4 + size)
        self._answer_bytes = size + 2
        self._sockets = [_connect(port) for _ in range(connections)]
        self._epoll = select.epoll()
        for raw in self._sockets:
            self._epoll.register(raw.fileno(), select.EPOLLIN)

    def run(self, seconds: float) -> tuple[int, float]:
        """Messages echoed, and the time that took."""
        poll, read, clock = self._epoll.poll, os.read, time.monotonic
        requests = {raw.fileno(): (raw.fileno(), self._message) for raw in self._sockets}
        begun = now = clock()
        _write(requests.values())
        received = 0
        while now < begun + seconds:
            for _ in range(20):
                ready = poll(1.0)
                for fd, _ in ready:
                    received += len(read(fd, 256))
                _write([requests[fd] for fd, _ in ready])
            now = clock()
        counted = received // self._answer_bytes
        in_flight = len(self._sockets) * self._answer_bytes - received % self._answer_bytes
        self._take(in_flight)
        return counted, now - begun

    def _take(self, missing: int) -> None:
        """Read this many bytes of answers."""
        while missing > 0:
            ready = self._epoll.poll(10.0)
            if not ready:
                raise TimeoutError(f"{missing} bytes of answers do not come")
            missing -= sum(len(os.read(fd, 256)) for fd, _ in ready)


def _write(requests: Iterable[tuple[int, bytes]]) -> None:
    _, unsent = write_frames(requests)
    if unsent:
        raise OSError(f"{len(unsent)} requests could not be written")


def _connect(port: int) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.sendall(REQUEST)
    head = b""
    while b"\r\n\r\n" not in head:
        head += raw.recv(4096)
    assert head.startswith(b"HTTP/1.1 101"), head
    raw.setblocking(False)
    return raw


def main() -> None:
    """Obey lines until standard input ends."""
    echoes = Echoes(*(int(word) for word in sys.argv[1:]))
    print("ready", flush=True)
    for line in sys.stdin:
        before = time.process_time()
        count, seconds = echoes.run(float(line.split()[1]))
        print(count, seconds, time.process_time() - before, flush=True)


if __name__ == "__main__":
    main()
