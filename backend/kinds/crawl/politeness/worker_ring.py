"""All workers as discovery has them: what they agree on about a host while the cache is away (P32). Pure.

Each comes to the same order of workers for a host by itself, by rendezvous hashing: when one comes or goes, only what
was its own changes hands. While discovery has not told everybody of a change yet, two may take the same for theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b


class WorkerRing:
    """The worker `name` among all `workers`; alone while nobody is known."""

    def __init__(self, name: str, workers: Callable[[], Sequence[str]]) -> None:
        self._name, self._workers = name, workers

    def owns(self, host: str) -> bool:
        """Whether the host is this worker's: of all it alone asks a host that wants a delay between requests."""
        return self._order(host)[0] == self._name

    def part(self, host: str, whole: int) -> int:
        """This worker's part of the requests that the host gets at a time."""
        order = self._order(host)
        share, rest = divmod(whole, len(order))
        return share + (order.index(self._name) < rest)

    def _order(self, host: str) -> list[str]:
        def weight(name: str) -> bytes:
            return blake2b(f"{name} {host}".encode(), digest_size=8).digest()

        return sorted({*self._workers(), self._name}, key=weight)
