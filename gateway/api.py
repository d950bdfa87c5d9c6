"""What an application sees of the gateway: three callbacks, and a handle for each peer.

::

    class Echo(Application):
        def on_message(self, peer: Peer, message: str | bytes) -> None:
            peer.send(message)

Callbacks are synchronous and run on the event loop: what takes long belongs in a task or a thread of
the application's own. For one connection they come in order: `on_open` once, `on_message` any
number of times, `on_close` once. None is called from inside a method of a peer, so an application may
send and close while it walks its own data. A callback that raises costs its connection (close code 4101)
and one log line, nothing else.

A peer is named by two integers: the number of its file descriptor, and a generation that tells it from
whoever had that number before. They can be kept in arrays indexed by `Peer.fd`, so that an idle client
costs the application no Python object either (`Gateway.cells` makes them), and
`Gateway.peer` makes a handle of them again. Handles of one peer are equal and hash alike. A stale handle
does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs

from roost.gateway.connections.columns import Cells
from roost.wire.clock import Clock
from roost.wire.codes import NORMAL, Close

Message = str | bytes
"""One WebSocket message: text as str, binary as bytes."""


class Frame:
    """A message encoded once, to be sent to any number of peers. Made by `Gateway.encode`."""

    __slots__ = ("data", "deflated", "message")

    def __init__(self, message: Message, data: bytes) -> None:
        self.message = message
        self.data = data
        self.deflated: dict[int, bytes] = {}
        """The same compressed, by window size, as far as a receiver wanted it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A client's opening handshake, as far as applications care. Header names are in lower case, repeated ones joined.

    `subject` says who the client is, where the gateway checked a token that names it (JWT); else it is empty.
    """

    target: str
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...]
    address: str
    subject: str = ""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def ticket(self) -> str | None:
        """The query's ``ticket``, where there is one."""
        return ticket_of(self.target)


def ticket_of(target: str) -> str | None:
    """The ``ticket`` in a request target's query, where there is one; the last one wins."""
    if "ticket=" not in target:
        return None
    return parse_qs(target.partition("?")[2], keep_blank_values=True).get("ticket", [None])[-1]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer to a handshake that is not to become a connection: an HTTP status from 400 to 599."""

    status: int
    reason: str
    retry_after_s: int | None = None
    headers: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Room for one client at another gateway: it connects to `url` with `ticket` in `after_s` seconds."""

    url: str
    ticket: str
    after_s: float


class ConnectionOperations(Protocol):
    """What a handle acts on; `generation` guards each call. Applications use `Peer` instead."""

    def send(self, fd: int, generation: int, message: Message) -> bool: ...
    def send_frame(self, fd: int, generation: int, frame: Frame) -> bool: ...
    def close(self, fd: int, generation: int, close: Close) -> None: ...
    def hold(self, fd: int, generation: int, change: int) -> None: ...
    def is_open(self, fd: int, generation: int) -> bool: ...
    def request(self, fd: int, generation: int) -> Request | None: ...
    def unsent_bytes(self, fd: int, generation: int) -> int: ...


class Peer:
    """One client's connection, for as long as it lasts; afterwards every method does nothing."""

    __slots__ = ("_operations", "fd", "generation")

    def __init__(self, operations: ConnectionOperations, fd: int, generation: int) -> None:
        self._operations = operations
        self.fd = fd
        self.generation = generation

    def send(self, message: Message) -> bool:
        """Send str as a text message, bytes as a binary one. False when the peer is gone or hopelessly slow.

        True means that the bytes are with the kernel or wait in the peer's bounded outbox, not that they arrived.
        """
        return self._operations.send(self.fd, self.generation, message)

    def send_frame(self, frame: Frame) -> bool:
        """Send what `Gateway.encode` made; otherwise like `send`."""
        return self._operations.send_frame(self.fd, self.generation, frame)

    def close(self, close: Close = NORMAL) -> None:
        """Close with a code of `roost.wire.codes`, after what was sent before. `on_close` follows in a later turn."""
        self._operations.close(self.fd, self.generation, close)

    def hold(self) -> None:
        """Never close this peer as idle until as many `release` calls as `hold` calls have come."""
        self._operations.hold(self.fd, self.generation, 1)

    def release(self) -> None:
        """Take one `hold` back; idle time counts from here. Without a hold it does nothing."""
        self._operations.hold(self.fd, self.generation, -1)

    @property
    def is_open(self) -> bool:
        """Whether a message could still be sent."""
        return self._operations.is_open(self.fd, self.generation)

    @property
    def request(self) -> Request | None:
        """The opening handshake, while `on_open` runs; None afterwards, because nothing of it is kept."""
        return self._operations.request(self.fd, self.generation)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the peer has not taken yet and that wait in its outbox; 0 when nothing waits.

        To feed a large result: send while this is small, and come back at the `on_drained` callback.
        """
        return self._operations.unsent_bytes(self.fd, self.generation)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Peer)
            and self.fd == other.fd
            and self.generation == other.generation
            and self._operations is other._operations
        )

    def __hash__(self) -> int:
        return hash((self.fd, self.generation))

    def __repr__(self) -> str:
        return f"<peer {self.fd}.{self.generation}>"


class Gateway(Protocol):
    """What an application may ask of the gateway that runs it."""

    @property
    def incarnation(self) -> str:
        """This gateway's id, new with every start."""

    @property
    def clock(self) -> Clock:
        """The gateway's time."""

    @property
    def connections(self) -> int:
        """Connections held, open and opening."""

    def peer(self, fd: int, generation: int) -> Peer:
        """The handle of these two integers; stale unless they name an open connection."""

    def peers(self) -> Iterator[Peer]:
        """Every open peer."""

    def cells(self, width_bytes: int) -> Cells:
        """A column of `width_bytes` for each connection, zero at first (`roost.gateway.connections.columns`)."""

    def encode(self, message: Message) -> Frame:
        """Encode once what many are to get."""

    def broadcast(self, frame: Frame, peers: Iterable[Peer]) -> None:
        """Send to many peers in slices, so that others are served in between. Peers that leave meanwhile are skipped.

        Each peer gets frames of several broadcasts in the order of the calls.
        """


class Application:
    """What the gateway runs. Subclass it and override what matters; every method has a default that does nothing."""

    subprotocols: tuple[str, ...] = ()
    """Subprotocols in order of preference; the first one that the client offers is chosen (RFC 6455 section 4.2.2)."""

    def start(self, gateway: Gateway) -> None:
        """Before the first connection."""

    def stop(self) -> None:
        """After the last connection."""

    def admit(self, request: Request) -> Refusal | None:
        """Refuse a handshake that the gateway itself would accept; None lets it in."""
        return None

    def on_open(self, peer: Peer) -> None:
        """The handshake is done; the peer can be sent to."""

    def on_message(self, peer: Peer, message: Message) -> None:
        """A whole message has come."""

    def on_drained(self, peer: Peer) -> None:
        """The peer has taken all that waited in its outbox."""

    def on_move(self, peer: Peer, endpoint: Endpoint) -> bool:
        """It is this peer's turn to go to another gateway, where a place is kept for it: tell it, and answer True.

        False means not now, because it is in the middle of something that would have to begin anew: it is asked about
        again. Where the gateway ends, a peer that does not leave by itself is closed with code 1012 a while later. An
        application without this callback has its peers closed at once when their turn comes.
        """
        return False

    def on_close(self, peer: Peer, code: int, reason: str) -> None:
        """The connection is over: the peer's close code, or ours, or 1006 when it broke without one.

        The handle is already stale; its fd and generation still name what the application kept.
        """
