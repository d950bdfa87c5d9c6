"""The list of web pages that may use a service, by their origin (RFC 6454). Pure.

Only browsers send an origin, and only they need this check: it keeps other sites' pages from acting with the rights of
their visitors.
"""

from __future__ import annotations

import re

from roost.wire.errors import Misuse

ANY = "*"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class AllowedOrigins:
    """Exact origins, separated by commas; empty text, or ``*`` among them, allows any origin.

    Raises Misuse for text that has no origin, and for an origin that no browser would ever send.
    """

    def __init__(self, allowed: str) -> None:
        listed = [origin.strip().lower() for origin in allowed.split(",") if origin.strip()]
        if allowed and not listed:
            raise Misuse(f"allow_origins is {allowed!r}: it names no origin")
        names = frozenset(map(_checked, listed))
        self._names = frozenset() if ANY in names else names

    @property
    def is_any(self) -> bool:
        """Whether pages of every origin are allowed."""
        return not self._names

    def admits(self, origin: str) -> bool:
        """Whether a page of this origin, as its browser writes it, may use the service."""
        return not self._names or origin.lower() in self._names


def _checked(origin: str) -> str:
    """The origin as browsers write it: without the port that its scheme implies."""
    if origin in (ANY, "null"):
        return origin
    if not _ORIGIN.fullmatch(origin):
        raise Misuse(f"allow_origins has {origin[:100]!r}: write SCHEME://HOST or SCHEME://HOST:PORT, without a path")
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition("://")[0], "\n"))
