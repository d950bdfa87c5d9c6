"""Events from a master to gateways: a job has ended, or made progress.

An event may be lost. Gateways therefore also poll for finished requests (P26).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable

from roost.backend.broker import topology
from roost.backend.broker.port import Broker
from roost.wire.codec import pack
from roost.wire.errors import Unavailable
from roost.wire.messages.client import MAX_IDS
from roost.wire.messages.lock import JobFinished, RequestRef
from roost.wire.messages.outcome import Ending
from roost.wire.messages.work import GatewayEvent, LevelEvent, ProgressEvent

log = logging.getLogger(__name__)

Requests = list[tuple[bytes, str]]


def by_gateway(requests: Iterable[RequestRef], only_streaming: bool = False) -> dict[str, Requests]:
    """Group (client id, request id) pairs by gateway; at most MAX_IDS pairs for each gateway."""
    found: dict[str, Requests] = defaultdict(list)
    for ref in requests:
        if (ref.stream or not only_streaming) and len(found[ref.gateway]) < MAX_IDS:
            found[ref.gateway].append((ref.client, ref.request))
    return {gateway: ids for gateway, ids in found.items() if ids}


class EventPublisher:
    """Sends events to gateways through the broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def job_finished(
        self, requests: Iterable[RequestRef], job: int, ending: Ending, only_part: bytes | None
    ) -> None:
        """Tell every waiting gateway that the job ended; `only_part` is set when the result has a single part (P24)."""
        for gateway, ids in by_gateway(requests).items():
            await self.send(gateway, JobFinished(gateway, job, ids, ending, only_part))

    async def level(self, requests: Iterable[RequestRef], level: int, seq: int, items: bytes) -> None:
        """Send a piece of a finished level to the requests that stream (P25)."""
        for gateway, ids in by_gateway(requests, only_streaming=True).items():
            await self.send(gateway, LevelEvent(ids, level, seq, items))

    async def progress(self, requests: Iterable[RequestRef], level: int, done: int, known: int) -> None:
        """Send the progress of the job to the requests that stream (P25)."""
        for gateway, ids in by_gateway(requests, only_streaming=True).items():
            await self.send(gateway, ProgressEvent(ids, level, done, known))

    async def send(self, gateway: str, event: GatewayEvent) -> None:
        """Put an event into a gateway's queue; drop it when the broker does not take it (queue gone, outage)."""
        try:
            await self._broker.publish(topology.gateway_events(gateway).name, pack(event))
        except Unavailable as problem:
            log.debug("event dropped", extra={"action": "mail_dropped", "gateway": gateway, "reason": problem.reason})
