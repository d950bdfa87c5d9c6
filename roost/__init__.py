"""Roost runs long jobs and returns their results over WebSocket connections that cost very little while idle.

Start with `connect`; the errors it may raise are in `roost.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roost.client.client import Client, connect
    from roost.client.request import Request

__all__ = ["Client", "Request", "connect"]


def __getattr__(name: str) -> Any:
    """Load the client on first use, so that importing the package is fast."""
    if name in __all__:
        from roost.client import client, request

        return getattr(request if name == "Request" else client, name)
    raise AttributeError(f"module 'roost' has no attribute {name!r}")
