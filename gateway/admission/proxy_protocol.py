"""The PROXY protocol, version 2: a balancer in front says, in a few bytes before the first, who the client is."""

from __future__ import annotations

import ipaddress

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_BYTES = 16 + 536
"""Header with addresses and room for what some balancers append; longer ones are refused."""


class BadProxyHeader(Exception):
    """The bytes are no PROXY protocol header: no balancer sent them, or one that is set up otherwise."""


def read_header(data: bytes) -> tuple[str, int] | None:
    """The client's address (empty when the balancer speaks for itself) and the header's length.

    None when more bytes are needed. Raises BadProxyHeader.
    """
    if not SIGNATURE.startswith(data[:12]) or (len(data) > 12 and data[12] >> 4 != 2):
        raise BadProxyHeader
    if len(data) < 16:
        return None
    size = 16 + int.from_bytes(data[14:16], "big")
    if size > MAX_BYTES:
        raise BadProxyHeader
    if len(data) < size:
        return None
    command, family, addresses = data[12] & 0xF, data[13] >> 4, data[16:size]
    if command == 0 or family not in (1, 2):
        return "", size
    width = 4 if family == 1 else 16
    if command != 1 or len(addresses) < 2 * width + 4:
        raise BadProxyHeader
    return str(ipaddress.ip_address(addresses[:width])), size
