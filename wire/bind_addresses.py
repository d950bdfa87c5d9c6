"""Resolves a host setting to the addresses on which a service will listen, before it binds a socket.

A host setting is one host, or several separated by commas, as `roost.wire.listener.bind` takes it; an empty one means
every address of the machine. Names are resolved here exactly as `bind` resolves them. So the start-up checks
(`roost.wire.guards`) judge ``localhost``, ``127.1`` and names in ``/etc/hosts`` by their real addresses. The module
also makes the ``host:port`` text of a service's own URL.
"""

from __future__ import annotations

from ipaddress import ip_address

from roost.wire.client_address import is_loopback
from roost.wire.listener import resolve

_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  compared with, not bound to


def addresses_of(hosts: str) -> list[str]:
    """The addresses that `bind` would listen on. Raises OSError for a name that does not resolve."""
    return [address for _, address in resolve(hosts, 0)]


def is_loopback_only(hosts: str) -> bool:
    """Whether only this machine can connect to these hosts. A name that does not resolve counts as reachable."""
    try:
        return all(map(is_loopback, addresses_of(hosts)))
    except OSError:
        return False


def is_everywhere(hosts: str) -> bool:
    """Whether one of the hosts means every address of the machine, so that others cannot use it as an address."""
    try:
        return any(ip_address(address.partition("%")[0]).is_unspecified for address in addresses_of(hosts))
    except OSError:
        return False


def first_place(hosts: str, port: int) -> str:
    """``host:port`` of the first host as it was written, for use in a URL: IPv6 addresses are put in brackets."""
    return _host_and_port(_first(hosts), port)


def nearest_place(hosts: str, port: int) -> str:
    """``host:port`` for a client on this machine: loopback where the first host means every address."""
    first = _first(hosts)
    return _host_and_port(_LOOPBACK_OF.get(first, first), port)


def _first(hosts: str) -> str:
    return hosts.partition(",")[0].strip()


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
