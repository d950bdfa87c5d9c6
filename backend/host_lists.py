"""URLs that name several hosts, as for a cluster: ``amqp://user:password@one:5672,two:5672/vhost``."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_AUTHORITY = re.compile(r"(?P<before>[^/?#]*://(?:[^/?#]*@)?)(?P<hosts>[^/?#]*)(?P<after>.*)", re.DOTALL)


def each_host(url: str) -> list[str]:
    """The URL once for each host that it names, otherwise the same."""
    parts = _AUTHORITY.fullmatch(url)
    if parts is None:
        return [url]
    return [parts["before"] + host + parts["after"] for host in parts["hosts"].split(",")]


def names_hosts(url: str, schemes: tuple[str, ...]) -> bool:
    """Whether it is a URL of one of these schemes with at least one host, each with a valid port or none."""
    return all(_names_host(single, schemes) for single in each_host(url))


def _names_host(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
