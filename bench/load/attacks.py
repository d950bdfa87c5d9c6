"""The kinds of attack: each is a generator whose steps do a little work and yield what happened.

A step yields `BEGUN` for a new attack, the gateway's reaction when an attack is over (one of the texts that `heard`
returns), or `NOTHING`. Closing the generator closes its connections; it raises OSError when the gateway refuses it.
Every kind has its own source address, so that a gateway can apply its limits per address.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

from bench.support.clients.client_bytes import (
    BINARY_KIND,
    CLOSE_KIND,
    PING_KIND,
    REQUEST,
    call,
    frames,
    masked,
    upgraded,
)

BEGUN, NOTHING = "begun", ""
RESET = "reset"
UNHEEDED = "no reaction"
FLOOD = "connect flood"

ATTACKS_PER_S = 20
"""Attacks per second of each kind that is disconnected and connects again."""

HELD_COUNT = 50
"""Connections of each kind that keeps its connections open."""

DRIP_S = 0.1
"""Seconds between two bytes of a slow attack."""

CONNECTS_PER_S = 5000
FLOOD_STEP_S = 0.005
STANDING_COUNT = 200
"""Connections of the flood that are open at a time."""

REACTION_S = 2.0
"""How long the gateway has to end a connection after a protocol violation."""

FRAGMENTS = masked(0x00) * 200
"""Empty fragments; none is the last of its message."""

LONG_HEADER = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4)
"""The header of a message of 1 TiB."""

LONG_BYTES = 60_000

Steps = Generator[str, None, None]
Kind = Callable[[int], Steps]


def slow_handshake(port: int) -> Steps:
    """Send the upgrade request byte by byte."""

    def begin() -> socket.socket:
        raw = call(port, "127.0.0.11")
        raw.settimeout(REACTION_S)
        return raw

    return _drip(begin, REQUEST)


def slow_frame(port: int) -> Steps:
    """Send a message byte by byte."""
    return _drip(lambda: upgraded(port, "127.0.0.12"), masked(BINARY_KIND, bytes(LONG_BYTES)))


def _drip(begin: Callable[[], socket.socket], data: bytes) -> Steps:
    sent: dict[socket.socket, int] = {}
    with _closing(sent):
        while True:
            while len(sent) < HELD_COUNT:
                sent[begin()] = 0
                yield BEGUN
            for raw, at in list(sent.items()):
                ending = heard(raw, 0)
                if ending == UNHEEDED:
                    raw.send(data[at : at + 1])
                    sent[raw] += 1
                else:
                    del sent[raw]
                    raw.close()
                    yield ending
            time.sleep(DRIP_S)
            yield NOTHING


def endless_fragments(port: int) -> Steps:
    """Send a message of empty frames that never ends."""
    return _push(port, "127.0.0.13", masked(0x02), FRAGMENTS)


def ping_flood(port: int) -> Steps:
    """Send pings of the largest size as fast as possible."""
    return _push(port, "127.0.0.14", b"", masked(PING_KIND, bytes(125)) * 100)


def long_header(port: int) -> Steps:
    """The header of a message of 1 TiB."""
    return _push(port, "127.0.0.15", LONG_HEADER, b"")


def _push(port: int, source: str, first: bytes, more: bytes) -> Steps:
    """Send `first`, then `more` again and again until the gateway reacts."""
    while True:
        with upgraded(port, source) as raw:
            yield BEGUN
            until_s = time.monotonic() + REACTION_S
            ending = UNHEEDED
            try:
                raw.sendall(first)
                while ending == UNHEEDED and time.monotonic() < until_s:
                    raw.sendall(more)
                    ending = heard(raw, 0.001)
            except OSError:
                ending = heard(raw, 0)
        yield ending
        time.sleep(1 / ATTACKS_PER_S)


def half_close(port: int) -> Steps:
    """Close our side of the connection without a close frame; the other side stays open."""
    while True:
        with upgraded(port, "127.0.0.16") as raw:
            yield BEGUN
            raw.shutdown(socket.SHUT_WR)
            yield heard(raw, REACTION_S)
        time.sleep(1 / ATTACKS_PER_S)


def mid_frame_reset(port: int) -> Steps:
    """Reset the connection in the middle of a frame."""
    while True:
        with upgraded(port, "127.0.0.17") as raw:
            raw.sendall(masked(BINARY_KIND, bytes(LONG_BYTES))[:1000])
            _abort(raw)
        yield BEGUN
        time.sleep(1 / ATTACKS_PER_S)


def never_reads(port: int) -> Steps:
    """Send messages as fast as possible, and never read their echoes."""
    message = masked(BINARY_KIND, bytes(LONG_BYTES))
    sent: dict[socket.socket, int] = {}
    with _closing(sent):
        while True:
            while len(sent) < HELD_COUNT:
                raw = upgraded(port, "127.0.0.18")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or the kernel would read megabytes for us
                raw.setblocking(False)
                sent[raw] = 0
                yield BEGUN
            for raw in list(sent):
                try:
                    while True:
                        sent[raw] += raw.send(message[sent[raw] % len(message) :])
                except BlockingIOError:
                    continue
                except OSError:
                    del sent[raw]
                    raw.close()
                    yield RESET
            time.sleep(DRIP_S)
            yield NOTHING


def connect_flood(port: int) -> Steps:
    """Open very many connections from one address, and reset each after a while without sending anything."""
    standing: deque[socket.socket] = deque()
    since_s = time.monotonic()
    begun = 0
    with _closing(standing):
        while True:
            while begun < (time.monotonic() - since_s) * CONNECTS_PER_S:
                standing.append(call(port, "127.0.0.19"))
                begun += 1
                if len(standing) > STANDING_COUNT:
                    _abort(standing.popleft())
                yield BEGUN
            time.sleep(FLOOD_STEP_S)
            yield NOTHING


@contextmanager
def _closing(sockets: Iterable[socket.socket]) -> Iterator[None]:
    try:
        yield
    finally:
        for raw in sockets:
            raw.close()


KINDS: dict[str, Kind] = {
    "slow handshake": slow_handshake,
    "slow frame": slow_frame,
    "endless fragments": endless_fragments,
    "ping flood": ping_flood,
    "1 TiB header": long_header,
    "half-close": half_close,
    "reset in mid-frame": mid_frame_reset,
    "never reads": never_reads,
    FLOOD: connect_flood,
}


def heard(raw: socket.socket, patience_s: float) -> str:
    """Return how the gateway reacted: ``closed CODE``, ``refused STATUS``, ``ended``, RESET, or UNHEEDED."""
    data = b""
    try:
        while not (found := _reaction(data)):
            if not select.select([raw], [], [], patience_s)[0]:
                return UNHEEDED
            piece = raw.recv(65536)
            if not piece:
                return "ended"
            data += piece
    except OSError:
        return RESET
    return found


def _reaction(data: bytes) -> str:
    """Return the reaction in a gateway's bytes; empty when they do not end the connection."""
    if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 101"):
        return f"refused {data[9:12].decode()}"
    codes = [int.from_bytes(payload[:2], "big") for kind, payload in frames(data) if kind == CLOSE_KIND]
    return f"closed {codes[0]}" if codes else ""


def _abort(raw: socket.socket) -> None:
    """Close with a reset."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
