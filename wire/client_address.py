"""Where a client comes from, as far as it can be known. Pure."""

from __future__ import annotations

import ipaddress

from roost.wire.errors import Misuse

SITE_BITS = 64
"""Of an IPv6 address: one customer usually has all that share these (RFC 6177, RFC 4291 section 2.5.4)."""


def is_loopback(address: str) -> bool:
    """Whether this is an address of this machine only (127/8, ::1, and 127/8 in IPv6's clothes)."""
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def site_of(address: str) -> str:
    """What is counted as one place: an IPv4 address, an IPv6 network of `SITE_BITS`; other text stands for itself."""
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
    """Which neighbours are trusted to name the client they stand before. Raises ValueError for what is no network."""

    def __init__(self, networks: str) -> None:
        listed = [item.strip() for item in networks.split(",") if item.strip()]
        self._networks = [ipaddress.ip_network(item, strict=False) for item in listed]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether what `address` says of a client is believed."""
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
    """Raise Misuse for a setting of trusted proxies with something that is no network, or without any network."""
    try:
        named = Proxies(networks)
    except ValueError as problem:
        raise Misuse(f"trusted_proxies: {problem}") from problem
    if networks and not named:
        raise Misuse(f"trusted_proxies is {networks!r}: it names no network")
