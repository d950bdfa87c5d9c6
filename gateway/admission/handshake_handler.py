"""Handles new connections: from the accepted socket to `on_open`, or to an HTTP answer with the reason of a refusal."""

from __future__ import annotations

import logging
from collections.abc import Callable

from roost.gateway.admission.jwt import JwtVerifier
from roost.gateway.admission.limits import AddressLimiter, OriginPolicy
from roost.gateway.admission.proxy_protocol import BadProxyHeader, read_header
from roost.gateway.admission.tickets import TicketVerifier
from roost.gateway.api import Application, Refusal, Request, ticket_of
from roost.gateway.connections.keepalive import KeepaliveConfig, next_action
from roost.gateway.connections.slots import HANDSHAKE, OPEN, OVER_ADDRESS_LIMIT, OVER_CAPACITY, WINDOW_SHIFT
from roost.gateway.connections.wheel import ticks
from roost.gateway.io.callbacks import RAISED
from roost.gateway.io.transport import acknowledge, peer_address
from roost.gateway.io.writer import ConnectionWriter
from roost.gateway.settings import Settings
from roost.gateway.websocket.deflate import agree
from roost.gateway.websocket.handshake import (
    HEALTH_ANSWER,
    Opening,
    accept_bytes,
    choose_subprotocol,
    head_end,
    is_health_check,
    read_opening,
    refusal_bytes,
)
from roost.wire.client_address import Proxies

log = logging.getLogger(__name__)

MAX_OVER_LIMIT = 64
"""Clients over a limit that may do the handshake at one time, in order to get an HTTP answer with the reason."""


class HandshakeHandler:
    """Performs opening handshakes. `receive` gets the bytes that follow a handshake in the same read."""

    def __init__(
        self,
        writer: ConnectionWriter,
        settings: Settings,
        tickets: TicketVerifier,
        bearer: JwtVerifier | None,
        receive: Callable[[int, bytes], None],
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._tickets = tickets
        self._bearer = bearer
        self._receive = receive
        self._heads: dict[int, bytes] = {}
        """Bytes of requests that are not complete yet, by descriptor."""
        self._handshake_ticks = ticks(settings.handshake_s)
        self._keepalive = KeepaliveConfig.of(settings)
        app = writer.app
        self._app_opens = getattr(type(app), "on_open", None) is not Application.on_open
        self._app_admits = getattr(type(app), "admit", None) is not Application.admit
        self._addresses = AddressLimiter(settings.max_per_address, count_loopback=settings.count_loopback)
        self._proxies = Proxies(settings.trusted_proxies)
        self._origins = OriginPolicy(settings.allow_origins)
        self._proxied_addresses: dict[int, str] = {}
        """Client addresses from PROXY protocol headers, during the handshake."""
        self._subjects: dict[int, str] = {}
        """Subjects of the clients' bearer tokens, during the handshake."""
        self._over_limit_count = 0
        writer.on_free.append(self._on_free)
        writer.on_trim.append(self._addresses.trim)
        self.accepting = True
        """False while the gateway drains: new handshakes are refused with 503."""

    def begin(self, fd: int, address: str, *, is_full: bool) -> None:
        """Start the handshake of a socket that was just accepted."""
        writer = self._writer
        writer.counters.accepted += 1
        is_over_limit = not self._is_balancer(address) and not self._addresses.takes(fd, address)
        if is_over_limit and self._over_limit_count >= MAX_OVER_LIMIT:
            writer.counters.refused["address"] += 1
            writer.transport.close(fd)
            return
        writer.slots.allocate(fd, writer.wheel.now)
        if is_full or is_over_limit:
            writer.slots.flags[fd] = OVER_ADDRESS_LIMIT if is_over_limit else OVER_CAPACITY
            self._over_limit_count += 1
        writer.wheel.put(fd, writer.wheel.now + self._handshake_ticks)
        writer.poller.add(fd)

    def _is_balancer(self, address: str) -> bool:
        """Whether this is a load balancer's address, so that the client's address comes later from the balancer."""
        return self._settings.proxy_protocol or (bool(self._proxies) and self._proxies.trusts(address))

    def _address(self, fd: int, opening: Opening) -> str:
        """Return the client's address, as reported by trusted balancers or else by the socket."""
        address = self._proxied_addresses.get(fd) or peer_address(fd)
        if not self._proxies:
            return address
        return self._proxies.client_of(address, opening.fields.get(b"x-forwarded-for", b"").decode("latin-1"))

    def _on_free(self, fd: int) -> None:
        """Drop the state of a descriptor whose slot is freed."""
        self._addresses.leaves(fd)
        if self._writer.slots.flags[fd] & (OVER_CAPACITY | OVER_ADDRESS_LIMIT):
            self._over_limit_count -= 1
        self._heads.pop(fd, None)
        self._proxied_addresses.pop(fd, None)
        self._subjects.pop(fd, None)

    def on_readable(self, fd: int) -> None:
        """Read once from a connection in its handshake, and handle the input."""
        try:
            data = self._writer.transport.read(fd, self._settings.max_header_bytes + 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        before = self._heads.pop(fd, b"")
        if not data:
            self._writer.abort(fd)
            return
        self._writer.counters.bytes_in += len(data)
        self._writer.slots.last_read[fd] = self._writer.wheel.now
        self._on_bytes(fd, before + data, len(before))

    def too_late(self, fd: int) -> None:
        """Refuse with 408, because the deadline of the handshake has passed; abort when no byte arrived."""
        if self._heads.pop(fd, None):
            self.refuse(fd, Refusal(408, "the request did not come in time"), "too_late")
        else:
            self._writer.counters.refused["too_late"] += 1
            self._writer.abort(fd)

    def _on_bytes(self, fd: int, data: bytes, seen: int) -> None:
        if self._settings.proxy_protocol and fd not in self._proxied_addresses:
            try:
                found = read_header(data)
            except BadProxyHeader:
                self._writer.counters.refused["proxy_header"] += 1
                self._writer.abort(fd)
                return
            if found is None:
                self._heads[fd] = data
                acknowledge(fd)
                return
            self._proxied_addresses[fd], size = found
            data, seen = data[size:], 0
        self._on_request_bytes(fd, data, seen)

    def _on_request_bytes(self, fd: int, data: bytes, seen: int) -> None:
        end = head_end(data, max(seen - 3, 0))
        limit = self._settings.max_header_bytes
        if end > limit or (end < 0 and len(data) > limit):
            self.refuse(fd, Refusal(431, f"the request has more than {limit} bytes of headers"), "too_big")
        elif end < 0:
            self._heads[fd] = data
            acknowledge(fd)
        elif is_health_check(data[:end]):
            self._writer.write(fd, HEALTH_ANSWER)
            self._finish(fd)
        else:
            self._answer(fd, read_opening(data[:end]), data[end:])

    def _answer(self, fd: int, opening: Opening | Refusal, rest: bytes) -> None:
        if isinstance(opening, Refusal):
            self.refuse(fd, opening, "bad_request")
            return
        ticket = ticket_of(opening.target)
        refused = self._check(fd, opening, ticket)
        if refused is not None:
            self.refuse(fd, *refused)
            return
        self._tickets.redeem(ticket)
        self._accept(fd, opening, rest)

    def _check(self, fd: int, opening: Opening, ticket: str | None) -> tuple[Refusal, str] | None:
        """Return why a valid request is refused, as an answer and as a reason for the metrics; None to accept it."""
        flags = self._writer.slots.flags[fd]
        if flags & OVER_CAPACITY:
            return self._retry_later(503, "this gateway is full"), "full"
        if flags & OVER_ADDRESS_LIMIT or not self._takes_forwarded(fd, opening):
            return self._retry_later(429, "too many connections from this address"), "address"
        if not self.accepting:
            return self._retry_later(503, "this gateway is closing"), "draining"
        refusal = self._origins.check(opening.fields)
        if refusal is not None:
            return refusal, "origin"
        refused = self._tickets.check(ticket)
        if refused is not None:
            return refused
        refusal = self._identify(fd, opening)
        if refusal is not None:
            return refusal, "bearer"
        refusal = self._ask_application(fd, opening)
        return (refusal, "application") if refusal is not None else None

    def _takes_forwarded(self, fd: int, opening: Opening) -> bool:
        """Count a client behind a balancer for its address; return False when that address is at its limit."""
        if not self._settings.proxy_protocol and not self._proxies:
            return True
        if not self._is_balancer(peer_address(fd)):
            return True
        return self._addresses.takes(fd, self._address(fd, opening))

    def _identify(self, fd: int, opening: Opening) -> Refusal | None:
        """Check the bearer token if one is required, and keep its subject until the connection is open."""
        if self._bearer is None:
            return None
        found = self._bearer.check(opening.fields, opening.subprotocols)
        if isinstance(found, Refusal):
            return found
        self._subjects[fd] = found
        return None

    def _request(self, fd: int, opening: Opening) -> Request:
        return opening.request(self._address(fd, opening), self._subjects.get(fd, ""))

    def _retry_later(self, status: int, reason: str) -> Refusal:
        return Refusal(status, reason, retry_after_s=self._settings.retry_after_s)

    def _ask_application(self, fd: int, opening: Opening) -> Refusal | None:
        if not self._app_admits:
            return None
        try:
            return self._writer.app.admit(self._request(fd, opening))
        except RAISED:
            self._writer.counters.application_errors += 1
            log.exception("application callback raised", extra={"action": "application_failed"})
            return Refusal(500, "the application failed")

    def _accept(self, fd: int, opening: Opening, rest: bytes) -> None:
        writer = self._writer
        slots = writer.slots
        subprotocol = choose_subprotocol(writer.app.subprotocols, opening.subprotocols)
        agreed = agree(opening.extensions) if self._settings.compression else None
        slots.flags[fd] = (agreed[0] if agreed else 0) << WINDOW_SHIFT
        slots.state[fd] = OPEN
        now = slots.last_read[fd] = slots.last_message[fd] = writer.wheel.now
        writer.wheel.put(fd, next_action(fd, now, now, 0, False, now, self._keepalive)[1])
        writer.counters.opened += 1
        writer.counters.open_now += 1
        if not writer.write_corked(fd, accept_bytes(opening.key, subprotocol, agreed[1] if agreed else None)):
            return
        if self._app_opens:
            writer.opening = (fd, lambda: self._request(fd, opening))
            writer.call(fd, writer.app.on_open)
            writer.opening = None
        self._proxied_addresses.pop(fd, None)
        self._subjects.pop(fd, None)
        if rest:
            self._receive(fd, rest)

    def refuse(self, fd: int, refusal: Refusal, why: str) -> None:
        """Answer with a refusal and close the connection. `why` is the reason in the metrics."""
        self._writer.counters.refused[why] += 1
        self._writer.write(fd, refusal_bytes(refusal))
        self._finish(fd)

    def _finish(self, fd: int) -> None:
        if self._writer.slots.state[fd] == HANDSHAKE:
            self._writer.half_close(fd)
