"""Parses URLs that name several hosts, as for a cluster: ``amqp://user:password@one:5672,two:5672/vhost``."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_AUTHORITY = re.compile(r"(?P<before>[^/?#]*://(?:[^/?#]*@)?)(?P<hosts>[^/?#]*)(?P<after>.*)", re.DOTALL)


def each_host(url: str) -> list[str]:
    """Return one URL for each host that `url` names; the rest of the URL is unchanged."""
    parts = _AUTHORITY.fullmatch(url)
    if parts is None:
        return [url]
    return [parts["before"] + host + parts["after"] for host in parts["hosts"].split(",")]


def names_hosts(url: str, schemes: tuple[str, ...]) -> bool:
    """Return whether `url` has one of the schemes and at least one host, each with a valid port or no port."""
    return all(_names_host(single, schemes) for single in each_host(url))


def _names_host(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
