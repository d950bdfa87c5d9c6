"""Roost: jobs over connections that cost next to nothing while they idle.

Start with `connect`; what it may raise is in `roost.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roost.client.client import Client, connect
    from roost.client.request import Request

__all__ = ["Client", "Request", "connect"]


def __getattr__(name: str) -> Any:
    """Load the client when it is first asked for, so that importing the package costs nothing."""
    if name in __all__:
        from roost.client import client, request

        return getattr(request if name == "Request" else client, name)
    raise AttributeError(f"module 'roost' has no attribute {name!r}")
