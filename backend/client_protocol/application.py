"""The job protocol (`roost.wire.messages.client`) as a gateway application: identifies clients and checks messages.

An idle connection must cost as little as possible (I6), so this module keeps no object per client. It stores 16 bytes
of client id, 8 of epoch, and one byte to count bad messages, in the gateway's arrays (`Gateway.cells`).
"""

from __future__ import annotations

import secrets

from roost.backend.broker.port import Broker
from roost.backend.cache.port import Cache
from roost.backend.client_protocol.delivery import send
from roost.backend.client_protocol.requests import ClientConnection, Requests
from roost.backend.client_protocol.settings import ClientProtocolSettings
from roost.backend.kinds.registry import Kinds
from roost.backend.lock.client import LockClient
from roost.gateway.api import Application, Endpoint, Gateway, Message, Peer
from roost.wire.clock import SYSTEM_CLOCK, Clock
from roost.wire.codes import (
    BAD_SESSION,
    HELLO_EXPECTED,
    REPLACED,
    TOO_MANY_ERRORS,
    UNSUPPORTED,
    ErrorCode,
)
from roost.wire.errors import BadInput, DecodeError, TokenError
from roost.wire.messages import client as protocol
from roost.wire.messages.client import Ack, Cancel, Hello, Resume, Submit
from roost.wire.tokens import CLIENT_ID_BYTES, Keyring, Session

EPOCH_BYTES = 8
BAD_MESSAGES = 20
"""After this many bad messages a connection is closed: the client ignores the errors that it gets."""
NOBODY = bytes(CLIENT_ID_BYTES)


class ClientProtocol(Application):
    """A gateway application. Start its `requests` before the gateway accepts connections."""

    subprotocols = (protocol.SUBPROTOCOL,)

    def __init__(
        self,
        settings: ClientProtocolSettings,
        broker: Broker,
        cache: Cache,
        locks: LockClient,
        kinds: Kinds,
        keys: Keyring,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings, self._kinds, self._keys, self._clock = settings, kinds, keys, clock
        self.requests = Requests(settings, broker, cache, locks, clock)

    def start(self, gateway: Gateway) -> None:
        """Allocate the cells. The queue of events is consumed already, since `requests` has started."""
        self._clients = gateway.cells(CLIENT_ID_BYTES)
        self._epochs = gateway.cells(EPOCH_BYTES)
        self._bad_counts = gateway.cells(1)

    def stop(self) -> None:
        """Do nothing: background tasks are stopped with `requests`."""

    def on_open(self, peer: Peer) -> None:
        del self._clients[peer.fd], self._epochs[peer.fd], self._bad_counts[peer.fd]

    def on_message(self, peer: Peer, message: Message) -> None:
        if isinstance(message, bytes):
            peer.close(UNSUPPORTED)
            return
        try:
            decoded = protocol.read_from_client(message)
        except DecodeError as problem:
            self._reject(peer, problem)
            return
        client = self._clients[peer.fd]
        if isinstance(decoded, Hello):
            self._hello(peer, decoded, client)
        elif client == NOBODY:
            peer.close(HELLO_EXPECTED)
        else:
            self._dispatch(ClientConnection(peer, client, self._epoch(peer)), decoded)

    def on_drained(self, peer: Peer) -> None:
        self.requests.drains.notify(peer)

    def on_move(self, peer: Peer, endpoint: Endpoint) -> bool:
        """Ask the client to move; False if it cannot move now.

        It cannot before its `welcome`, nor while a result is being sent, whose parts would start again (P29).
        """
        client = self._clients[peer.fd]
        if client == NOBODY or self.requests.is_sending(client, peer):
            return False
        return send(peer, protocol.Move(endpoint.url, endpoint.ticket, int(endpoint.after_s * 1000)))

    def on_close(self, peer: Peer, code: int, reason: str) -> None:
        self.requests.gone(ClientConnection(peer, self._clients[peer.fd], self._epoch(peer)))

    def _dispatch(self, connection: ClientConnection, message: Submit | Resume | Ack | Cancel) -> None:
        match message:
            case Submit():
                self._submit(connection, message)
            case Resume():
                self.requests.resume(connection, message.ids)
            case Ack():
                self.requests.acknowledge(connection, message.id)
            case Cancel():
                self.requests.cancel(connection, message.id)

    def _submit(self, connection: ClientConnection, submit: Submit) -> None:
        if self.requests.is_over_limit(connection, submit):  # checked first: reading the spec is the expensive step
            return
        try:
            kind = self._kinds.find(submit.kind)
            spec = kind.parse_spec(bytes(submit.spec))
        except BadInput as problem:
            self._reject(connection.peer, problem, submit.id)
            return
        self.requests.submit(connection, submit, kind, spec)

    def _reject(self, peer: Peer, problem: BadInput, request: str | None = None) -> None:
        count = min(self._bad_counts[peer.fd][0] + 1, BAD_MESSAGES)
        self._bad_counts[peer.fd] = bytes((count,))
        send(peer, protocol.Error(problem.code, problem.message, request))
        if count == BAD_MESSAGES:
            peer.close(TOO_MANY_ERRORS)

    def _hello(self, peer: Peer, hello: Hello, known: bytes) -> None:
        if known != NOBODY:
            self._reject(peer, BadInput(ErrorCode.BAD_MESSAGE, "hello was said already: it comes once, first"))
            return
        now = self._clock.wall()
        try:
            client = self._keys.read_session(hello.session, now).client if hello.session else _new_client()
        except TokenError as problem:
            self._reject(peer, problem)
            peer.close(BAD_SESSION)
            return
        if not self._replace(client, hello.epoch):
            peer.close(REPLACED)
            return
        self._clients[peer.fd] = client
        self._epochs[peer.fd] = hello.epoch.to_bytes(EPOCH_BYTES, "big")
        settings = self._settings
        session = self._keys.sign_session(Session(int(now + settings.session_s), client))
        limits = protocol.Limits(settings.message_bytes, settings.live_requests, int(settings.retention_s))
        send(peer, protocol.Welcome(session, limits))

    def _replace(self, client: bytes, epoch: int) -> bool:
        """Close older connections of a client that has live requests here (P2). False if a newer one is open."""
        for peer in {live.peer for live in self.requests.live.of(client)}:
            if self._epoch(peer) > epoch:
                return False
            peer.close(REPLACED)
        return True

    def _epoch(self, peer: Peer) -> int:
        return int.from_bytes(self._epochs[peer.fd], "big")


def _new_client() -> bytes:
    return secrets.token_bytes(CLIENT_ID_BYTES)
