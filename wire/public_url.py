"""Checks ``--public-url``, the URL under which others reach a component. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from roost.wire.errors import Misuse

MAX_CHARS = 512
"""Discovery accepts no longer address."""


def checked_public_url(url: str, *schemes: str) -> str:
    """Return `url` unchanged; an empty one means the address on which the component listens.

    Raises Misuse unless it is SCHEME://HOST[:PORT] with one of these schemes.
    """
    if not url:
        return url
    advice = f"write --public-url as {schemes[0]}://HOST:PORT, not {url[:100]!r}"
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise Misuse(advice) from None
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_CHARS
    if (
        not url.startswith(tuple(f"{scheme}://" for scheme in schemes))
        or not has_host
        or not is_plain
        or parts.query
        or parts.fragment
    ):
        raise Misuse(advice)
    return url
