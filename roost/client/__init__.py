"""The Python client: `Client` and `connect`, which ``import roost`` offers too."""

from roost.client.client import Client, connect

__all__ = ["Client", "connect"]
