"""The table of requests whose results clients of this gateway wait for. Pure.

It is only a local copy: it says on which connection to answer, and what was sent there. The store is authoritative. A
client without a request has no entry here, because an idle connection must cost as little as possible (I6).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import Enum

from roost.gateway.api import Peer


class Stage(Enum):
    """What has been sent to the client about a request."""

    OFFERED = "not yet confirmed by the broker"
    ACCEPTED = "accepted, waiting for the outcome"
    DELIVERING = "parts are being sent"
    SENT = "everything is sent, waiting for the acknowledgement"


@dataclass(slots=True, eq=False)
class ActiveRequest:
    """A request and the connection that waits for it.

    `digest` is a hash of kind and specification; it is empty after a resume.
    """

    client: bytes
    request: str
    peer: Peer
    digest: bytes = b""
    stream: bool = False
    stage: Stage = Stage.ACCEPTED
    is_stored: bool = True
    """False for a result from the cache, which is not acknowledged to the store (P27)."""
    counts: bool = True
    """False for a resumed request until the store has confirmed it; until then it does not count as live."""

    @property
    def is_open(self) -> bool:
        """Whether sending the result has not begun yet."""
        return self.stage in (Stage.OFFERED, Stage.ACCEPTED)


class ActiveRequests:
    """The live requests by (client id, request id), and by client."""

    def __init__(self) -> None:
        self._requests: dict[tuple[bytes, str], ActiveRequest] = {}
        self._of_client: dict[bytes, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._requests)

    def find(self, client: bytes, request: str) -> ActiveRequest | None:
        return self._requests.get((client, request))

    def of(self, client: bytes) -> list[ActiveRequest]:
        """Return the client's requests."""
        return [self._requests[client, request] for request in self._of_client.get(client, ())]

    def count(self, client: bytes) -> int:
        """Return how many requests the client has here."""
        return len(self._of_client.get(client, ()))

    def open_count(self, client: bytes) -> int:
        """Return how many of them wait for their outcome and count as live."""
        return sum(live.is_open and live.counts for live in self.of(client))

    def add(self, live: ActiveRequest) -> None:
        """Add a request. It replaces an entry with the same client and request id."""
        self._requests[live.client, live.request] = live
        self._of_client[live.client].add(live.request)

    def drop(self, live: ActiveRequest) -> bool:
        """Remove a request and return True; return False if it was removed or replaced before."""
        if self._requests.get((live.client, live.request)) is not live:
            return False
        del self._requests[live.client, live.request]
        ids = self._of_client[live.client]
        ids.discard(live.request)
        if not ids:
            del self._of_client[live.client]
        return True

    def drop_peer(self, client: bytes, peer: Peer) -> list[ActiveRequest]:
        """Remove and return the client's requests that waited on this connection."""
        gone = [live for live in self.of(client) if live.peer == peer]
        for live in gone:
            self.drop(live)
        return gone
