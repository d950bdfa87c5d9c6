"""Very many idle clients of the job protocol that follow `move`.

``python -m bench.support.clients.moving_clients FIRST PORT [PORT …]``

They take the same commands as `bench.support.clients.discovery_clients`, but send hello and count as connected when
they are welcomed. When told to move, a client opens its next connection beside the current one, and closes the old one
when the new one is welcomed (P29). ``stats`` answers `Moved`.
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from bench.support.clients.client_bytes import CLOSE, JOB_REQUEST, TEXT_KIND, masked
from bench.support.clients.commanded import run
from bench.support.clients.discovery_clients import DiscoveryClient, DiscoveryClients
from roost.wire.codec import to_json
from roost.wire.messages.client import Hello, Move, Welcome, read_from_gateway


@dataclass
class Moved:
    """What clients saw since ``mark``."""

    present: int = 0
    connected: int = 0
    moved: int = 0
    """Times that a client followed `move`."""
    lost: int = 0
    """Times that a client had no connection any more, and came back by asking discovery."""
    most_reconnects: int = 0
    """The most reconnects of one client, of either kind."""
    most_away: int = 0
    """Clients without a connection at one moment, of those that had one before."""
    refusals: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    """Ends of a connection before the client had the next one, by their close code."""


@dataclass(slots=True, eq=False)
class MovingClient(DiscoveryClient):
    """One client, or the next connection of one (`of`), while that opens."""

    session: str | None = None
    epoch: int = 0
    of: MovingClient | None = None
    next: MovingClient | None = None
    reconnects: int = 0


class MovingClients(DiscoveryClients):
    """All clients of this process."""

    request = JOB_REQUEST

    def __init__(self, first: int, replicas: list[int]) -> None:
        super().__init__(first, replicas)
        self._away = 0
        self.moved = self.most_away = 0
        self.left: Counter[str] = Counter()

    def mark(self) -> None:
        """Count anew from here."""
        super().mark()
        self.moved, self.most_away = 0, self._away
        self.left.clear()
        for client in self._all:
            assert isinstance(client, MovingClient)
            client.reconnects = 0

    def seen(self) -> Moved:
        """Since the mark."""
        figures = self.figures()
        most = max((client.reconnects for client in self._all if isinstance(client, MovingClient)), default=0)
        return Moved(figures.present, figures.connected, self.moved, self.lost, most, self.most_away, figures.refusals)

    def _make(self, number: int, replicas: list[int], now: float) -> DiscoveryClient:
        return MovingClient(number, replicas, now)

    def _ask(self, client: DiscoveryClient) -> None:
        """A timer is due; a client that was told to move knows its new gateway."""
        assert isinstance(client, MovingClient)
        if client.of is not None:
            self._ask_gateway(client)
        else:
            super()._ask(client)

    def _upgraded(self, client: DiscoveryClient) -> None:
        assert isinstance(client, MovingClient)
        assert client.raw is not None
        who = client.of or client
        who.epoch = max(who.epoch + 1, int(time.time() * 1000))
        client.raw.send(masked(TEXT_KIND, to_json(Hello(who.session, who.epoch))))

    def _hear_text(self, client: DiscoveryClient, text: bytes) -> None:
        assert isinstance(client, MovingClient)
        said = read_from_gateway(text)
        if isinstance(said, Welcome):
            (client.of or client).session = said.session
            self._welcomed(client)
        elif isinstance(said, Move) and client.of is None and client.next is None:
            where = [(int(said.url.rpartition(":")[2]), said.ticket)]
            client.next = MovingClient(client.number, [], time.monotonic(), of=client, choices=where)
            heapq.heappush(self._due, (time.monotonic() + said.after_ms / 1000, client.number, client.next))

    def _welcomed(self, client: MovingClient) -> None:
        who = client.of or client
        if who.opened_s:
            who.reconnects += 1
            self._away -= not who.is_open
        if client.of is not None:
            self._change_over(who, client)
        who.is_open, who.opened_s = True, time.monotonic()
        who.choices.clear()

    def _change_over(self, who: MovingClient, new: MovingClient) -> None:
        """Leave the old connection for the new one."""
        assert new.raw is not None
        if who.raw is not None:
            with suppress(OSError):
                who.raw.send(CLOSE)
        self._drop(who)
        who.raw, who.heard, who.on_ready, who.next = new.raw, new.heard, self._hear_frames, None
        new.raw, new.of = None, None
        self._by_fd[who.raw.fileno()] = who
        self.moved += 1

    def _lose(self, client: DiscoveryClient, code: int) -> None:
        """A connection ended. A client whose next connection is opening is disconnected until then, and does not ask
        discovery.
        """
        assert isinstance(client, MovingClient)
        if not client.is_open:
            self._fail(client, f"closed before the welcome ({code})")
            return
        self.left[str(code)] += 1
        self._away += 1
        self.most_away = max(self.most_away, self._away)
        if client.next is None:
            super()._lose(client, code)
        else:
            client.is_open = False
            self._drop(client)

    def _fail(self, client: DiscoveryClient, why: str) -> None:
        assert isinstance(client, MovingClient)
        who = client.of
        if who is None:
            super()._fail(client, why)
            return
        self._drop(client)
        self.refusals[f"move: {why}"] += 1
        who.next = client.of = None
        if not who.is_open:
            self.lost += 1
            self._pause(who, 0.0)


def obey(clients: MovingClients, words: list[str]) -> str:
    """Return the answer to one command."""
    if words[0] == "come":
        clients.come(int(words[1]))
        return "coming"
    if words[0] == "mark":
        clients.mark()
        return "marked"
    return json.dumps(asdict(clients.seen()))


if __name__ == "__main__":
    everyone = MovingClients(int(sys.argv[1]), [int(port) for port in sys.argv[2:]])
    run(everyone.serve, lambda words: obey(everyone, words))
