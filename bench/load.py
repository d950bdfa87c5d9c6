"""A light load of echoes and of connects: ``python -m bench.load echo PORT CONNECTIONS SECONDS BYTES`` or
``python -m bench.load accept PORT COUNT``.

Every connection keeps one message in flight: what comes back is counted in whole frames and the same bytes are sent
again, without parsing. That is two system calls and about a microsecond of Python for a message, less than any
server does for it. Prints ``MESSAGES SECONDS`` or ``CONNECTIONS SECONDS``.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

from bench.crowd import REQUEST, Crowd


def echo(port: int, connections: int, seconds: float, size: int) -> tuple[int, float]:
    """Messages echoed, and the time that took."""
    epoll = select.epoll()
    sockets = [_connect(port) for _ in range(connections)]
    message = bytes((0x82, 0x80 | size, 0, 0, 0, 0)) + bytes(size)
    for raw in sockets:
        epoll.register(raw.fileno(), select.EPOLLIN)
        raw.send(message)
    answer_bytes, total, read, write, clock = size + 2, 0, os.read, os.write, time.monotonic
    begun = now = clock()
    while now < begun + seconds:
        for _ in range(20):
            for fd, _ in epoll.poll(1.0):
                total += len(read(fd, 65536))
                write(fd, message)
        now = clock()
    for raw in sockets:
        raw.close()
    return total // answer_bytes, now - begun


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


def accept(port: int, count: int) -> tuple[int, float]:
    """Connections opened, and the time that took; they stay open until this process ends."""
    crowd = Crowd(port, 0)
    return count, crowd.open(count)


def main() -> None:
    """Do what the command line says."""
    name, *numbers = sys.argv[1:]
    if name == "echo":
        print(*echo(int(numbers[0]), int(numbers[1]), float(numbers[2]), int(numbers[3])), flush=True)
    else:
        print(*accept(int(numbers[0]), int(numbers[1])), flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
