"""Parses the header of the PROXY protocol, version 2.

A load balancer sends the client's address in this header, before any other data of the connection.
"""

from __future__ import annotations

import ipaddress

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_BYTES = 16 + 536
"""Largest accepted header: addresses, and space for the fields that some balancers append (TLV)."""


class BadProxyHeader(Exception):
    """The bytes are not a PROXY protocol v2 header: the peer is not a balancer, or is configured differently."""


def read_header(data: bytes) -> tuple[str, int] | None:
    """Return the client's address (empty for the balancer's own connections) and the header's length in bytes.

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
