"""How many unused tickets one address may have at a time. Pure.

A ticket holds a place for as long as it lives, whether or not its client comes. Without a limit, one machine that asks
in a loop and never connects would hold every place of the cluster. So an address that has `limit` tickets which no
gateway has reported redeemed gets no more (429) until some are used or expire. An honest crowd behind one address is
only slowed down: what it redeems is free again with the next beat.

Loopback is exempt unless it is counted, and all of an IPv6 /64 is one place. Behind a balancer the address is the one
that a trusted proxy names.
"""

from __future__ import annotations

from dataclasses import dataclass

from roost.wire.client_address import Proxies, check_proxies, is_loopback, site_of
from roost.wire.errors import Misuse

MAX_UNUSED_TICKETS = 1000
"""As many as a gateway lets one address connect by default: a large office behind one NAT."""

LONGEST_S = 30
MAX_REMEMBERED = 10_000
"""Addresses that are remembered as turned away: only those with `limit` tickets, so no real cluster has as many."""


@dataclass(frozen=True, slots=True)
class ClientTicketLimits:
    """Whose tickets are counted; `max_unused_tickets` 0 is no limit.

    Raises Misuse for proxies that are no networks, and for a setting that would have no effect.
    """

    max_unused_tickets: int = MAX_UNUSED_TICKETS
    count_loopback: bool = False
    trusted_proxies: str = ""

    def __post_init__(self) -> None:
        if self.max_unused_tickets < 0:
            raise Misuse(f"max_unused_tickets is {self.max_unused_tickets}: it must not be negative")
        check_proxies(self.trusted_proxies)
        if self.count_loopback and not self.max_unused_tickets:
            raise Misuse("count_loopback has no effect while max_unused_tickets is 0, which is no limit")


class ClientTicketLimiter:
    """Who asks, and when an address that has too many tickets may ask again."""

    def __init__(self, limits: ClientTicketLimits) -> None:
        self._limits = limits
        self._proxies = Proxies(limits.trusted_proxies)
        self._turned_away: dict[str, tuple[float, int]] = {}
        """By place: the first of a window of `LONGEST_S`, and how many there were in it."""

    def place_of(self, remote: str, forwarded: str) -> str:
        """Where a request comes from, by its peer and its X-Forwarded-For; empty when that is not counted."""
        address = self._proxies.client_of(remote, forwarded)
        if not self._limits.max_unused_tickets or (is_loopback(address) and not self._limits.count_loopback):
            return ""
        return site_of(address)

    def has_too_many(self, unused: int) -> bool:
        """Whether a place with so many unused tickets gets no more."""
        return unused >= self._limits.max_unused_tickets

    def refuse(self, place: str, now: float) -> int:
        """A place was turned away; whole seconds after which to ask again: about `limit` get in with each beat."""
        since, count = self._turned_away.get(place, (now, 0))
        if now - since >= LONGEST_S:
            since, count = now, 0
        if len(self._turned_away) >= MAX_REMEMBERED:
            self._turned_away.clear()
        self._turned_away[place] = since, count + 1
        return min(1 + count // self._limits.max_unused_tickets, LONGEST_S)
