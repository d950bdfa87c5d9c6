"""Makes untrusted text safe to print on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with ``?`` in place of control characters, which could control the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
