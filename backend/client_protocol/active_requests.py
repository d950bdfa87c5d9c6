"""The requests that clients of this gateway wait for. Pure. A client without one is not in here (I6).

What is here is a courtesy copy: which connection to answer, and what it was told. The store decides everything.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum

from roost.gateway.api import Peer


class Stage(Enum):
    """What has been told to the client."""

    OFFERED = "not yet safe with the broker"
    ACCEPTED = "told accepted, waiting for the outcome"
    DELIVERING = "parts are on their way"
    SENT = "everything is sent, waiting for the acknowledgement"


@dataclass(slots=True, eq=False)
class ActiveRequest:
    """One request and the connection that waits for it. `digest` is of kind and spec; empty after a resume."""

    client: bytes
    request: str
    peer: Peer
    digest: bytes = b""
    stream: bool = False
    stage: Stage = Stage.ACCEPTED
    is_stored: bool = True
    """False for an answer from the cache: nothing is to be acknowledged to the store (P27)."""
    counts: bool = True
    """False for a resumed request while nobody knows whether there is one: it does not count as live."""

    @property
    def is_open(self) -> bool:
        """The outcome is not on its way yet."""
        return self.stage in (Stage.OFFERED, Stage.ACCEPTED)


class ActiveRequests:
    """Live requests by (client, request id), and by client."""

    def __init__(self) -> None:
        self._requests: dict[tuple[bytes, str], ActiveRequest] = {}
        self._of_client: dict[bytes, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._requests)

    def find(self, client: bytes, request: str) -> ActiveRequest | None:
        return self._requests.get((client, request))

    def of(self, client: bytes) -> list[ActiveRequest]:
        """The client's live requests."""
        return [self._requests[client, request] for request in self._of_client.get(client, ())]

    def count(self, client: bytes) -> int:
        """How many they are."""
        return len(self._of_client.get(client, ()))

    def open_count(self, client: bytes) -> int:
        """How many of them are known to wait for their outcome."""
        return sum(live.is_open and live.counts for live in self.of(client))

    def add(self, live: ActiveRequest) -> None:
        """Remember; replaces the same client's same request."""
        self._requests[live.client, live.request] = live
        self._of_client[live.client].add(live.request)

    def drop(self, live: ActiveRequest) -> bool:
        """Forget, unless it was replaced meanwhile."""
        if self._requests.get((live.client, live.request)) is not live:
            return False
        del self._requests[live.client, live.request]
        ids = self._of_client[live.client]
        ids.discard(live.request)
        if not ids:
            del self._of_client[live.client]
        return True

    def drop_peer(self, client: bytes, peer: Peer) -> list[ActiveRequest]:
        """Forget what waited on this connection; returns it."""
        gone = [live for live in self.of(client) if live.peer == peer]
        for live in gone:
            self.drop(live)
        return gone
