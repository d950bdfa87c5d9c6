"""Which IP addresses may be dialled.

A crawler dials addresses that strangers choose, so it must not give them access to its own networks (server-side
request forgery, SSRF). The check is made at the socket that is dialled, after name resolution and on every hop, because
a name can resolve to any address. `ipaddress.is_global` is not enough: on Python 3.11 it is true for several ranges of
this table.

IPv6 is refused outside 2000::/3, the only part of it that is allocated (RFC 4291 section 2.4, IANA's registry); the
rest of the table lists special ranges within it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput

Network = IPv4Network | IPv6Network

REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), why)
    for text, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a provider's customers"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's host service"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarks"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("2001::/23", "protocol assignments, Teredo among them"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4, which embeds IPv4"),
        ("3fff::/20", "documentation"),
    )
)
_UNICAST_V6 = IPv6Network("2000::/3")


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse ranges such as ``10.0.0.0/8`` or single addresses. Raises BadInput."""
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError as problem:
            advice = f"write a range of addresses as in 10.0.0.0/8 or fd00::/8: {problem}"
            raise BadInput(ErrorCode.BAD_SPEC, advice) from problem
    return tuple(networks)


def refusal(address: str, allowed: Iterable[Network] = ()) -> str | None:
    """Return why `address` (as getaddrinfo writes it) must not be dialled; None when it may be.

    An IPv4 address mapped into IPv6 is dialled as IPv4 and checked as IPv4.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(ip in network for network in allowed):
        return None
    return _special(ip)


def _special(ip: IPv4Address | IPv6Address) -> str | None:
    if isinstance(ip, IPv6Address) and ip not in _UNICAST_V6:
        return "not a public IPv6 address"
    return next((why for network, why in REFUSED if ip in network), None)
