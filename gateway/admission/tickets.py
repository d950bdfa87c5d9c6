"""Verifies tickets in the opening handshake. Discovery signs a ticket for one connection to one gateway instance."""

from __future__ import annotations

from roost.gateway.api import Refusal
from roost.wire.clock import Clock
from roost.wire.errors import TokenError
from roost.wire.tokens import Keyring

_MISSING = Refusal(403, "a ticket is needed: ask discovery for one"), "ticket_missing"


class TicketVerifier:
    """Checks and redeems tickets; with `required`, clients without a ticket are refused.

    If a client sends a ticket, it is always checked. A redeemed ticket is not accepted a second time.
    """

    def __init__(self, keyring: Keyring | None, gateway: str, clock: Clock, *, required: bool) -> None:
        self._keyring = keyring
        self._gateway = gateway
        self._clock = clock
        self._required = required
        self._spent: dict[bytes, int] = {}
        """Serials of redeemed tickets and their expiry times, oldest first."""
        self._fresh: list[bytes] = []

    def check(self, text: str | None) -> tuple[Refusal, str] | None:
        """Return why a client with this ticket is refused, as an answer and as a metrics reason; None to accept it."""
        if text is None:
            return _MISSING if self._required else None
        if self._keyring is None:
            return None
        try:
            ticket = self._keyring.read_ticket(text, self._clock.wall(), self._gateway)
        except TokenError as problem:
            return Refusal(403, problem.message), f"ticket_{problem.fault}"
        if ticket.serial in self._spent:
            return Refusal(403, "this ticket was used already: ask discovery for a new one"), "ticket_used"
        return None

    def redeem(self, text: str | None) -> None:
        """Mark a ticket that passed `check` as used."""
        if text is None or self._keyring is None:
            return
        now = self._clock.wall()
        ticket = self._keyring.read_ticket(text, now, self._gateway)
        self._forget_expired(now)
        self._spent[ticket.serial] = ticket.expires
        self._fresh.append(ticket.serial)

    def take_redeemed(self) -> list[bytes]:
        """Return the serials redeemed since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _forget_expired(self, now: float) -> None:
        while self._spent:
            oldest = next(iter(self._spent))
            if self._spent[oldest] > now:
                return
            del self._spent[oldest]
