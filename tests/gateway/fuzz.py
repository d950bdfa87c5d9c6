"""Fuzzing of a gateway's readers with mutated inputs: ``python -m tests.gateway.fuzz --count 2000000 --seed 1``.

Each input is cut into pieces at random and goes through a real socket pair into the production code for clients, either
from the opening handshake or from an open connection. For every input, no exception may escape, no connection may be in
an invalid state, and no state of it may remain after its end. An input that fails is printed.
"""

from __future__ import annotations

import argparse
import random
import sys

from roost.gateway.api import Application, Message, Peer
from roost.gateway.settings import Settings
from roost.wire.codes import NORMAL
from tests.gateway.io.lone import Lone
from tests.gateway.websocket.bytes_of import close, frame, text

REQUEST = (
    b"GET /?ticket=a HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://a.example\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a, b\r\n\r\n"
)
FRAMES = (
    text("hello"),
    text("é" * 70),
    frame(2, bytes(200)),
    frame(1, b"in ", fin=False) + frame(9, b"ping") + frame(0, b"two"),
    frame(9, b"ping"),
    frame(10, b""),
    frame(1, b"\xaa\x01\x00", rsv=4),
    frame(1, b"\xaa", fin=False, rsv=4) + frame(10, b"") + frame(0, b"\x01\x00"),
    close(1000, "bye"),
    bytes((0x82, 0xFF)) + (1 << 40).to_bytes(8, "big") + bytes(4),
)


class Mirror(Application):
    """Echoes messages, and closes on request."""

    def on_message(self, peer: Peer, message: Message) -> None:
        peer.send(message)
        if message == "hello":
            peer.close(NORMAL)


class Fuzz:
    """Passes inputs one after another to a gateway without an event loop."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._gateway = Lone(
            Mirror(), Settings(max_message_bytes=1000, max_fragments=8, compression=True, max_outbox_bytes=4000)
        )

    def run(self, count: int) -> None:
        """Run `count` inputs. An exception is raised again after the input was printed."""
        for number in range(count):
            pieces = self._cut(self._input())
            try:
                self._gateway.throw(pieces)
            except BaseException:
                sys.stderr.write(f"input {number}: {pieces!r}\n")
                raise

    def _input(self) -> bytearray:
        dice = self._dice
        parts = [REQUEST] if dice.random() < 0.8 else []
        parts += dice.choices(FRAMES, k=dice.randrange(5))
        data = bytearray(b"".join(parts))
        start = len(REQUEST) if data.startswith(REQUEST) and dice.random() < 0.7 else 0
        for _ in range(dice.choice((0, 1, 1, 2, 5))):
            if len(data) > start:
                self._mutate(data, dice.randrange(start, len(data)))
        return data

    def _mutate(self, data: bytearray, at: int) -> None:
        dice = self._dice
        kind = dice.randrange(5)
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[at] = dice.randrange(256)
        elif kind == 2:
            del data[at : at + dice.randrange(1, 8)]
        elif kind == 3:
            data[at:at] = dice.randbytes(dice.randrange(1, 8))
        else:
            data[at:at] = data[at : at + dice.randrange(1, 40)]

    def _cut(self, data: bytearray) -> list[bytes]:
        cuts = sorted(self._dice.randrange(len(data) + 1) for _ in range(self._dice.choice((0, 0, 1, 2, 4))))
        return [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]

    def figures(self) -> str:
        """Return statistics of how far the inputs got."""
        counters = self._gateway.counters
        return f"{counters.opened:,} opened, {counters.messages_in:,} messages, closed {dict(counters.closed)}"


def main() -> None:
    """Run with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    fuzz = Fuzz(given.seed)
    fuzz.run(given.count)
    sys.stdout.write(f"{given.count:,} inputs, nothing escaped: {fuzz.figures()}\n")


if __name__ == "__main__":
    main()
