"""The interface between the gateway and an application: callbacks, and a handle for each peer.

::

    class Echo(Application):
        def on_message(self, peer: Peer, message: str | bytes) -> None:
            peer.send(message)

Callbacks are synchronous and run on the event loop; long work belongs in a task or a thread of the application. For one
connection they come in order: `on_open` once, `on_message` any number of times, `on_close` once. No callback is called
from inside a method of a peer, so an application may send and close while it iterates over its own data. When a
callback raises, the gateway logs the error and closes that connection with code 4101; other connections are not
affected.

A peer is identified by two integers: its file descriptor, and a generation that distinguishes it from earlier
connections with the same descriptor. They can be kept in arrays indexed by `Peer.fd` (`Gateway.cells` creates such
arrays), so that an idle client needs no Python object in the application either; `Gateway.peer` makes a handle from
them again. Handles of one peer are equal and have the same hash. A stale handle does nothing.
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
    """A message that is encoded once and sent to any number of peers. Created by `Gateway.encode`."""

    __slots__ = ("data", "deflated", "message")

    def __init__(self, message: Message, data: bytes) -> None:
        self.message = message
        self.data = data
        self.deflated: dict[int, bytes] = {}
        """The compressed frame by window size, made when a receiver needs it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A client's opening handshake request. Header names are in lower case; repeated headers are joined.

    `subject` is the client's identity from a verified token (JWT), or empty.
    """

    target: str
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...]
    address: str
    subject: str = ""

    @property
    def path(self) -> str:
        """The target without its query string."""
        return self.target.partition("?")[0]

    @property
    def ticket(self) -> str | None:
        """The ``ticket`` parameter of the query, or None."""
        return ticket_of(self.target)


def ticket_of(target: str) -> str | None:
    """Return the ``ticket`` parameter of a request target's query, or None; the last one wins."""
    if "ticket=" not in target:
        return None
    return parse_qs(target.partition("?")[2], keep_blank_values=True).get("ticket", [None])[-1]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer that refuses a handshake, with a status from 400 to 599."""

    status: int
    reason: str
    retry_after_s: int | None = None
    headers: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Capacity reserved for one client at another gateway: connect to `url` with `ticket` in `after_s` seconds."""

    url: str
    ticket: str
    after_s: float


class ConnectionOperations(Protocol):
    """The operations behind `Peer`; `generation` guards each call. Applications use `Peer` instead."""

    def send(self, fd: int, generation: int, message: Message) -> bool: ...
    def send_frame(self, fd: int, generation: int, frame: Frame) -> bool: ...
    def close(self, fd: int, generation: int, close: Close) -> None: ...
    def hold(self, fd: int, generation: int, change: int) -> None: ...
    def is_open(self, fd: int, generation: int) -> bool: ...
    def request(self, fd: int, generation: int) -> Request | None: ...
    def unsent_bytes(self, fd: int, generation: int) -> int: ...


class Peer:
    """A handle of one client's connection; after the connection is closed every method does nothing."""

    __slots__ = ("_operations", "fd", "generation")

    def __init__(self, operations: ConnectionOperations, fd: int, generation: int) -> None:
        self._operations = operations
        self.fd = fd
        self.generation = generation

    def send(self, message: Message) -> bool:
        """Send str as a text message, bytes as a binary one. False when the peer is gone or was closed as too slow.

        True means that the bytes are in the kernel or in the peer's bounded outbox, not that they arrived.
        """
        return self._operations.send(self.fd, self.generation, message)

    def send_frame(self, frame: Frame) -> bool:
        """Send a frame made by `Gateway.encode`; otherwise like `send`."""
        return self._operations.send_frame(self.fd, self.generation, frame)

    def close(self, close: Close = NORMAL) -> None:
        """Close with a code of `roost.wire.codes`, after earlier messages. `on_close` is called in a later turn."""
        self._operations.close(self.fd, self.generation, close)

    def hold(self) -> None:
        """Exempt this peer from idle closing until `release` was called as often as `hold`."""
        self._operations.hold(self.fd, self.generation, 1)

    def release(self) -> None:
        """Undo one `hold`; idle time counts from here. Without a hold it does nothing."""
        self._operations.hold(self.fd, self.generation, -1)

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._operations.is_open(self.fd, self.generation)

    @property
    def request(self) -> Request | None:
        """The opening handshake request while `on_open` runs; None afterwards, because it is not kept."""
        return self._operations.request(self.fd, self.generation)

    @property
    def unsent_bytes(self) -> int:
        """Bytes in the peer's outbox that it has not taken yet; 0 when nothing waits.

        To send a large result: send while this is small, and continue in the `on_drained` callback.
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
    """The gateway as seen by the application that it runs."""

    @property
    def incarnation(self) -> str:
        """This gateway's instance id, new with every start."""

    @property
    def clock(self) -> Clock:
        """The gateway's clock."""

    @property
    def connections(self) -> int:
        """Number of connections held, including those in their handshake or closing."""

    def peer(self, fd: int, generation: int) -> Peer:
        """Return the handle of these two integers; it is stale unless they name an open connection."""

    def peers(self) -> Iterator[Peer]:
        """Iterate over all open peers."""

    def cells(self, width_bytes: int) -> Cells:
        """Create a column of `width_bytes` per connection, zero at first (`roost.gateway.connections.columns`)."""

    def encode(self, message: Message) -> Frame:
        """Encode a message once, to send it to many peers."""

    def broadcast(self, frame: Frame, peers: Iterable[Peer]) -> None:
        """Send to many peers in slices, so that other connections are served in between. Closed peers are skipped.

        Each peer gets frames of several broadcasts in the order of the calls.
        """


class Application:
    """Base class of applications. Override what is needed; the default of every method does nothing."""

    subprotocols: tuple[str, ...] = ()
    """Subprotocols in order of preference; the first one that the client offers is chosen (RFC 6455 section 4.2.2)."""

    def start(self, gateway: Gateway) -> None:
        """Called before the first connection."""

    def stop(self) -> None:
        """Called after the last connection."""

    def admit(self, request: Request) -> Refusal | None:
        """Return a Refusal to reject a handshake that the gateway would accept; None accepts it."""
        return None

    def on_open(self, peer: Peer) -> None:
        """The handshake is complete; messages can be sent to the peer."""

    def on_message(self, peer: Peer, message: Message) -> None:
        """A whole message has arrived."""

    def on_drained(self, peer: Peer) -> None:
        """The peer's outbox is empty again."""

    def on_move(self, peer: Peer, endpoint: Endpoint) -> bool:
        """The peer should move to another gateway, where `endpoint` is reserved for it: tell the peer, and return True.

        Return False if the peer cannot move now, because an operation would have to start again; the gateway asks again
        later. When the gateway drains, a peer that does not leave by itself is closed with code 1012 some time later.
        If the application does not override this method, its peers are closed at once at their turn of the drain.
        """
        return False

    def on_close(self, peer: Peer, code: int, reason: str) -> None:
        """The connection is closed; 1006 when it ended without a close frame, else the peer's code or the gateway's.

        The handle is already stale; its fd and generation still identify the data that the application kept.
        """
