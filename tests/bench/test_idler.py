"""A load user comes back, moves and stays away as a client does: against a gateway that plays a script."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random

import pytest

from bench.load.swarm.idler import Dismissed, Habits, Idler
from bench.load.swarm.swarm import Swarm
from bench.support.clients.client_bytes import CLOSE_KIND
from roost.gateway.websocket.frames import close_bytes, encode
from roost.wire import codes

WELCOME = encode(
    '{"type":"welcome","session":"s.k.b.m","limits":{"message_bytes":65536,"live_requests":1,"retention_s":86400}}'
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
GOODBYE = close_bytes(codes.REPLACED.number)
"""After this a user is not to come back, and its life ends."""


class Place:
    """Discovery and a gateway at one port: each WebSocket gets the next script and what the client said is kept."""

    def __init__(self, *scripts: bytes | None) -> None:
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.heard: list[list[tuple[int, bytes]]] = []
        self.asked = 0
        self._talks: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self._talks.append(threading.Thread(target=self._talk, args=(raw,)))
            self._talks[-1].start()

    def _talk(self, raw: socket.socket) -> None:
        with raw, suppress(OSError):
            if b"/v1/gateway" in raw.recv(65536):
                self.asked += 1
                assigned = {"url": f"ws://127.0.0.1:{self.port}", "ticket": "t", "expires_s": 30}
                raw.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(assigned).encode())
                return
            script = self._scripts.pop(0)
            if script is None:
                raw.sendall(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n\r\n")
                return
            said: list[tuple[int, bytes]] = []
            self.heard.append(said)
            raw.sendall(SWITCHED + script)
            data = b""
            while more := raw.recv(65536):
                data += more
            said += unmasked(data)

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *self._talks):
            thread.join()


def unmasked(data: bytes) -> Iterator[tuple[int, bytes]]:
    """A load client's frames: short ones, or of 16 bits, with a key of zeros."""
    while data:
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        yield data[0], data[start + 4 : start + 4 + length]
        data = data[start + 4 + length :]


@contextmanager
def places(*scripts: Sequence[bytes | None]) -> Iterator[list[Place]]:
    made = [Place(*each) for each in scripts]
    try:
        yield made
    finally:
        for place in made:
            place.end()


class Certain(Random):
    """Draws nothing: no pause is longer than it must be."""

    def random(self) -> float:
        return 0.0


def live(place: Place) -> tuple[Swarm, list[tuple[str, bool]]]:
    """A user's whole life there: what the swarm has seen, and each request with whether it went well."""
    swarm = Swarm(room=1)
    fired: list[tuple[str, bool]] = []
    idler = Idler(
        swarm,
        Habits(),
        [place.url],
        "",
        lambda name, took_s, problem: fired.append((name, problem is None)),
        Certain(),
    )
    with pytest.raises(Dismissed):
        idler.run()
    return swarm, fired


def test_a_user_comes_back_after_every_code_that_wants_it_and_stays_away_after_the_others() -> None:
    wanted = [codes.MOVED, codes.NO_PONG, codes.SLOW, codes.OVERLOADED, codes.TRY_LATER, codes.GOING_AWAY, codes.IDLE]
    scripts = [WELCOME + close_bytes(code.number) for code in wanted]
    with places([*scripts, None, WELCOME + GOODBYE]) as (place,):
        swarm, fired = live(place)
    assert swarm.tally.opened == len(wanted) + 1
    assert place.asked == len(wanted) + 2
    assert swarm.tally.lost == Counter(f"ramp {code.number}" for code in [*wanted, codes.REPLACED])
    assert swarm.tally.refused == {"connect: 503": 1}
    assert swarm.tally.dismissed == 1
    assert swarm.tally.connected_count == 0
    assert fired == [("connect", True), *[("reconnect: ramp", True)] * len(wanted)]


def test_a_session_that_is_refused_is_forgotten() -> None:
    refused = close_bytes(codes.BAD_SESSION.number)
    with places([WELCOME + close_bytes(codes.MOVED.number), refused, WELCOME + GOODBYE]) as (place,):
        live(place)
    hellos = [json.loads(said[0][1]) for said in place.heard]
    assert [hello.get("session") for hello in hellos] == [None, "s.k.b.m", None]
    assert [hello["epoch"] for hello in hellos] == sorted({hello["epoch"] for hello in hellos})


def test_a_move_is_followed_and_the_old_connection_left_when_the_new_one_is_welcome() -> None:
    with places([WELCOME + GOODBYE]) as (there,):
        move = {"type": "move", "url": f"ws://127.0.0.1:{there.port}", "ticket": "u", "after_ms": 0}
        with places([WELCOME + encode(json.dumps(move))]) as (here,):
            swarm, fired = live(here)
    assert fired == [("connect", True), ("move", True)]
    assert (swarm.tally.opened, swarm.tally.moved, swarm.tally.connected_count) == (2, 1, 0)
    assert here.heard[0][-1] == (CLOSE_KIND, codes.GOING_AWAY.number.to_bytes(2, "big"))
    assert json.loads(there.heard[0][0][1])["session"] == "s.k.b.m"
