"""Finds the network address of a client, also behind trusted proxies, and the key by which it is counted. Pure."""

from __future__ import annotations

import ipaddress

from roost.wire.errors import Misuse

SITE_BITS = 64
"""Leading bits of an IPv6 address. Addresses that share them usually belong to one customer
(RFC 6177, RFC 4291 section 2.5.4)."""


def is_loopback(address: str) -> bool:
    """Whether only this machine can use the address: 127.0.0.0/8, ::1, or IPv4-mapped 127.0.0.0/8."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def site_of(address: str) -> str:
    """The key under which a client is counted: its IPv4 address, or its IPv6 network of `SITE_BITS` bits.

    Text that is no IP address is returned unchanged.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), SITE_BITS), strict=False).network_address)


class Proxies:
    """The networks of trusted proxies, whose X-Forwarded-For header is believed.

    Raises ValueError for text that is not a list of networks.
    """

    def __init__(self, networks: str) -> None:
        listed = [item.strip() for item in networks.split(",") if item.strip()]
        self._networks = [ipaddress.ip_network(item, strict=False) for item in listed]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether `address` belongs to a trusted proxy."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    def client_of(self, address: str, forwarded: str) -> str:
        """The client's address: the last one in X-Forwarded-For that is no trusted proxy, else `address`."""
        listed = forwarded.split(",")
        while listed and self.trusts(address):
            candidate = listed.pop().strip()
            try:
                address = str(ipaddress.ip_address(candidate))
            except ValueError:
                break
        return address


def check_proxies(networks: str) -> None:
    """Raise Misuse when the setting for trusted proxies has an invalid network, or is not empty but has no network."""
    try:
        named = Proxies(networks)
    except ValueError as problem:
        raise Misuse(f"trusted_proxies: {problem}") from problem
    if networks and not named:
        raise Misuse(f"trusted_proxies is {networks!r}: it names no network")
