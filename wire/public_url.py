"""How others reach a part: the URL that it tells them, checked before it is told. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from roost.wire.errors import Misuse

MAX_CHARS = 512
"""Discovery takes no longer address."""


def checked_public_url(url: str, *schemes: str) -> str:
    """The same; empty stands for where the part listens. Raises Misuse unless it is SCHEME://HOST[:PORT]."""
    if not url:
        return url
    advice = f"write --public-url as {schemes[0]}://HOST:PORT, not {url[:100]!r}"
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise Misuse(advice) from None
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_CHARS
    if (
        not url.startswith(tuple(f"{scheme}://" for scheme in schemes))
        or not has_place
        or not is_plain
        or parts.query
        or parts.fragment
    ):
        raise Misuse(advice)
    return url
