"""Text of others on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with ``?`` for control characters, which could command a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
