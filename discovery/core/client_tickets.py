"""Limits how many unused tickets one address may have at a time. Pure.

A ticket reserves capacity until it is used or expires. Without a limit, one machine that asks in a loop and never
connects could reserve all capacity of the cluster. So an address with `max_unused_tickets` tickets that no gateway has
reported as redeemed gets no more (429) until some are used or expire. Many honest clients behind one address are only
slowed down: tickets that they redeem stop counting with the gateway's next heartbeat.

Loopback is exempt unless `count_loopback` is set. All addresses of an IPv6 /64 count together. Behind a load balancer
the address is the one that a trusted proxy reports.
"""

from __future__ import annotations

from dataclasses import dataclass

from roost.wire.client_address import Proxies, check_proxies, is_loopback, site_of
from roost.wire.errors import Misuse

MAX_UNUSED_TICKETS = 1000
"""As many as the connections that a gateway allows one address by default: a large office behind one NAT."""

LONGEST_S = 30
MAX_REMEMBERED = 10_000
"""Most refused addresses that are remembered. Only those at their limit are refused, so real clusters have fewer."""


@dataclass(frozen=True, slots=True)
class ClientTicketLimits:
    """Settings of the limit; `max_unused_tickets` 0 means no limit.

    Raises Misuse for invalid networks of proxies, and for a setting that would have no effect.
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
    """Decides whether an address may get another ticket, and when it may ask again."""

    def __init__(self, limits: ClientTicketLimits) -> None:
        self._limits = limits
        self._proxies = Proxies(limits.trusted_proxies)
        self._turned_away: dict[str, tuple[float, int]] = {}
        """By address key: when its window of `LONGEST_S` began, and how many requests were refused in it."""

    def place_of(self, remote: str, forwarded: str) -> str:
        """The key under which a request is counted, from its peer and its X-Forwarded-For; empty when not counted."""
        address = self._proxies.client_of(remote, forwarded)
        if not self._limits.max_unused_tickets or (is_loopback(address) and not self._limits.count_loopback):
            return ""
        return site_of(address)

    def has_too_many(self, unused: int) -> bool:
        """Whether an address with this many unused tickets gets no more."""
        return unused >= self._limits.max_unused_tickets

    def refuse(self, site: str, now: float) -> int:
        """Note a refusal, and return after how many whole seconds to ask again.

        About `max_unused_tickets` further requests succeed with each heartbeat.
        """
        since, count = self._turned_away.get(site, (now, 0))
        if now - since >= LONGEST_S:
            since, count = now, 0
        if len(self._turned_away) >= MAX_REMEMBERED:
            self._turned_away.clear()
        self._turned_away[site] = since, count + 1
        return min(1 + count // self._limits.max_unused_tickets, LONGEST_S)
