"""New connections: from the accepted socket to `on_open`, or to an HTTP answer that says why not."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.api import Application, Refusal, ticket_of
from gateway.handshake import (
    HEALTH_ANSWER,
    Opening,
    accept_bytes,
    choose_subprotocol,
    head_end,
    is_health_check,
    read_opening,
    refusal_bytes,
)
from gateway.keepalive import Rhythm, judge
from gateway.links import Links
from gateway.settings import Settings
from gateway.slots import GREETING, OPEN, TURNED_AWAY
from gateway.tickets import TicketBooth
from gateway.transport import peer_address
from gateway.wheel import ticks

log = logging.getLogger(__name__)


class Door:
    """Reads connections whose handshake is under way. `receive` gets the bytes that follow a handshake."""

    def __init__(
        self,
        links: Links,
        settings: Settings,
        booth: TicketBooth,
        receive: Callable[[int, bytes], None],
    ) -> None:
        self._links = links
        self._settings = settings
        self._booth = booth
        self._receive = receive
        self._heads: dict[int, bytes] = {}
        """What has come of a request that is not whole yet."""
        self._handshake_ticks = ticks(settings.handshake_s)
        self._rhythm = Rhythm.of(settings)
        app = links.app
        self._app_admits = getattr(type(app), "admit", None) is not Application.admit
        self.is_shut = False
        """Nobody new is let in any more."""

    def enter(self, fd: int, *, is_full: bool) -> None:
        """Begin with a socket that was just accepted."""
        links = self._links
        links.counters.accepted += 1
        links.slots.take(fd, links.wheel.now)
        if is_full:
            links.slots.flags[fd] = TURNED_AWAY
        links.wheel.put(fd, links.wheel.now + self._handshake_ticks)
        links.poller.add(fd)

    def on_readable(self, fd: int) -> None:
        """Read once and act on it."""
        try:
            data = self._links.transport.read(fd, self._settings.max_header_bytes + 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        before = self._heads.pop(fd, b"")
        if not data:
            self._links.drop(fd)
            return
        self._links.counters.bytes_in += len(data)
        self._links.slots.heard[fd] = self._links.wheel.now
        self._take(fd, before + data, len(before))

    def too_late(self, fd: int) -> None:
        """The handshake's deadline has come."""
        if self._heads.pop(fd, None):
            self.refuse(fd, Refusal(408, "the request did not come in time"), "too_late")
        else:
            self._links.counters.refused["too_late"] += 1
            self._links.drop(fd)

    def _take(self, fd: int, data: bytes, seen: int) -> None:
        end = head_end(data, max(seen - 3, 0))
        limit = self._settings.max_header_bytes
        if end > limit or (end < 0 and len(data) > limit):
            self.refuse(fd, Refusal(431, f"the request has more than {limit} bytes of headers"), "too_big")
        elif end < 0:
            self._heads[fd] = data
        elif is_health_check(data[:end]):
            self._links.write(fd, HEALTH_ANSWER)
            self._finish(fd)
        else:
            self._answer(fd, read_opening(data[:end]), data[end:])

    def _answer(self, fd: int, opening: Opening | Refusal, rest: bytes) -> None:
        if isinstance(opening, Refusal):
            self.refuse(fd, opening, "bad_request")
            return
        if self._links.slots.flags[fd] & TURNED_AWAY:
            self.refuse(fd, self._busy("this gateway is full"), "full")
            return
        if self.is_shut:
            self.refuse(fd, self._busy("this gateway is closing"), "draining")
            return
        ticket = ticket_of(opening.target)
        refusal = self._booth.check(ticket)
        if refusal is not None:
            self.refuse(fd, refusal, "ticket")
            return
        refusal = self._ask_application(fd, opening)
        if refusal is not None:
            self.refuse(fd, refusal, "application")
            return
        self._booth.redeem(ticket)
        self._accept(fd, opening, rest)

    def _busy(self, reason: str) -> Refusal:
        return Refusal(503, reason, retry_after_s=self._settings.retry_after_s)

    def _ask_application(self, fd: int, opening: Opening) -> Refusal | None:
        if not self._app_admits:
            return None
        try:
            return self._links.app.admit(opening.request(peer_address(fd)))
        except Exception:
            self._links.counters.application_errors += 1
            log.exception("the application failed", extra={"action": "application_failed"})
            return Refusal(500, "the application failed")

    def _accept(self, fd: int, opening: Opening, rest: bytes) -> None:
        links = self._links
        slots = links.slots
        subprotocol = choose_subprotocol(links.app.subprotocols, opening.subprotocols)
        slots.state[fd] = OPEN
        now = slots.heard[fd] = slots.active[fd] = links.wheel.now
        links.wheel.put(fd, judge(fd, now, now, 0, False, now, self._rhythm)[1])
        links.counters.opened += 1
        links.counters.open_now += 1
        if not links.write(fd, accept_bytes(opening.key, subprotocol)):
            return
        links.opening = (fd, opening)
        try:
            links.call(fd, links.app.on_open)
        finally:
            links.opening = None
        if rest:
            self._receive(fd, rest)

    def refuse(self, fd: int, refusal: Refusal, why: str) -> None:
        """Answer with a refusal and let the connection end."""
        self._links.counters.refused[why] += 1
        self._links.write(fd, refusal_bytes(refusal))
        self._finish(fd)

    def _finish(self, fd: int) -> None:
        if self._links.slots.state[fd] == GREETING:
            self._links.finish(fd)
