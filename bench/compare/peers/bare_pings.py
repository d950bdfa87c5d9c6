"""A minimal WebSocket server that only keeps connections alive: ``python bare_pings.py PERIOD_S TICK_S``.

It shows the lowest processor time that pinging connections can cost, for `bench.compare.keepalive`. One epoll loop
accepts connections and pings each of them once in PERIOD_S seconds; every TICK_S seconds it pings the next share of
them. It reads what clients send, and ignores it. The server has no deadlines, limits, parser, application or metrics.
"""

import base64
import hashlib
import os
import re
import resource
import select
import socket
import sys
import time

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PING = b"\x89\x00"
KEY = re.compile(rb"\r\nSec-WebSocket-Key: *([^\r]+)\r\n", re.IGNORECASE)


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listening.setblocking(False)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    epoll = select.epoll()
    epoll.register(listening.fileno(), select.EPOLLIN)
    print("listening", listening.getsockname()[1], flush=True)
    period_s, tick_s = map(float, sys.argv[1:])
    serve(listening, epoll, [[] for _ in range(round(period_s / tick_s))], tick_s)


def serve(listening: socket.socket, epoll: select.epoll, ring: list[list[int]], tick_s: float) -> None:
    accepting, greeting, tick = listening.fileno(), set[int](), 0
    poll, read, write, clock = epoll.poll, os.read, os.write, time.monotonic
    next_tick = clock() + tick_s
    while True:
        for fd, _ in poll(max(next_tick - clock(), 0), 256):
            if fd == accepting:
                client = listening.accept()[0]
                client.setblocking(False)
                greeting.add(client.fileno())
                epoll.register(client.detach(), select.EPOLLIN)
            elif fd in greeting:
                greeting.discard(fd)
                write(fd, answer(read(fd, 4096)))
                ring[fd % len(ring)].append(fd)
            elif not read(fd, 4096):
                ring[fd % len(ring)].remove(fd)
                os.close(fd)
        if clock() >= next_tick:
            next_tick += tick_s
            tick = (tick + 1) % len(ring)
            for fd in ring[tick]:
                write(fd, PING)


def answer(request: bytes) -> bytes:
    found = KEY.search(request)
    assert found is not None, request
    token = base64.b64encode(hashlib.sha1(found[1] + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n"
    )


if __name__ == "__main__":
    main()
