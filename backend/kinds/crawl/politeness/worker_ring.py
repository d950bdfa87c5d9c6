"""All workers that discovery knows: what they agree on about a host while the cache is unreachable (P32). Pure.

Each worker computes the same order of workers for a host, by rendezvous hashing: when a worker joins or leaves, only
its own hosts change hands. Until discovery has told every worker of a change, two may consider the same host theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b


class WorkerRing:
    """The worker `name` among all `workers`; it acts as the only one while no other is known."""

    def __init__(self, name: str, workers: Callable[[], Sequence[str]]) -> None:
        self._name, self._workers = name, workers

    def owns(self, host: str) -> bool:
        """Whether this worker owns the host: only the owner sends requests to a host with a crawl-delay."""
        return self._order(host)[0] == self._name

    def part(self, host: str, whole: int) -> int:
        """Return this worker's part of the `whole` concurrent requests to the host."""
        order = self._order(host)
        share, rest = divmod(whole, len(order))
        return share + (order.index(self._name) < rest)

    def _order(self, host: str) -> list[str]:
        def weight(name: str) -> bytes:
            return blake2b(f"{name} {host}".encode(), digest_size=8).digest()

        return sorted({*self._workers(), self._name}, key=weight)
