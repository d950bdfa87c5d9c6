"""What a master tells gateways: that a job ended, and how far it is. All of it may be lost: gateways sweep."""

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


def by_gateway(watchers: Iterable[RequestRef], only_streaming: bool = False) -> dict[str, Requests]:
    """Whom to address at which gateway, at most MAX_IDS each."""
    found: dict[str, Requests] = defaultdict(list)
    for watcher in watchers:
        if (watcher.stream or not only_streaming) and len(found[watcher.gateway]) < MAX_IDS:
            found[watcher.gateway].append((watcher.client, watcher.request))
    return {gateway: requests for gateway, requests in found.items() if requests}


class EventPublisher:
    """Sends mail to gateways through the broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def job_finished(
        self, watchers: Iterable[RequestRef], job: int, ending: Ending, only_part: bytes | None
    ) -> None:
        """Tell every waiting gateway that the job ended; `only_part` when the result is one part (P24)."""
        for gateway, requests in by_gateway(watchers).items():
            await self.send(gateway, JobFinished(gateway, job, requests, ending, only_part))

    async def level(self, watchers: Iterable[RequestRef], level: int, seq: int, items: bytes) -> None:
        """Stream a piece of a finished level (P25)."""
        for gateway, requests in by_gateway(watchers, only_streaming=True).items():
            await self.send(gateway, LevelEvent(requests, level, seq, items))

    async def progress(self, watchers: Iterable[RequestRef], level: int, done: int, known: int) -> None:
        """Stream how far the job is (P25)."""
        for gateway, requests in by_gateway(watchers, only_streaming=True).items():
            await self.send(gateway, ProgressEvent(requests, level, done, known))

    async def send(self, gateway: str, mail: GatewayEvent) -> None:
        """Put mail into a gateway's queue, or drop it: a gateway that is gone has none."""
        try:
            await self._broker.publish(topology.gateway_events(gateway).name, pack(mail))
        except Unavailable as problem:
            log.debug("mail dropped", extra={"action": "mail_dropped", "gateway": gateway, "reason": problem.reason})
