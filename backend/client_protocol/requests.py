"""Handles the requests of a gateway's clients, from a valid submit to the acknowledged result.

Every method reads and changes the table of active requests in one step, without an `await` in between (I7). Work that
needs another process runs in an asyncio task, which checks the table again when it has its answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from msgspec import Raw

from roost.backend import result_cache
from roost.backend.broker import topology
from roost.backend.broker.port import Broker, Delivery
from roost.backend.cache.port import Cache
from roost.backend.client_protocol.active_requests import ActiveRequest, ActiveRequests, Stage
from roost.backend.client_protocol.delivery import UNSENT_BYTES, WriteBackpressure, deliver, send
from roost.backend.client_protocol.poll_schedule import keep_polling
from roost.backend.client_protocol.settings import ClientProtocolSettings
from roost.backend.jobs import TAKEN_ENDING
from roost.backend.kinds.api import JobKind, ResultSharing
from roost.backend.lock.client import LockClient
from roost.backend.lock.group_commit import Batcher, rows
from roost.gateway.api import Peer
from roost.wire.clock import Clock
from roost.wire.codec import pack
from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError, Unavailable
from roost.wire.failpoints import Point, reach
from roost.wire.messages import client as protocol
from roost.wire.messages.lock import (
    Acknowledge,
    Answer,
    Attach,
    CancelRequest,
    Decision,
    Detach,
    FinishedRequests,
    JobFinished,
    Offer,
    RequestState,
    RequestStatus,
    Statuses,
)
from roost.wire.messages.outcome import Ending, Outcome
from roost.wire.messages.work import JobChanged, LevelEvent, ProgressEvent, read_gateway_event

log = logging.getLogger(__name__)

POLL_S = 10.0
"""How often (seconds) the gateway polls for finished requests whose event was lost (P26)."""
RETRY_S = 1.0
EVENTS_AT_ONCE = 256
MAX_UNANSWERED = 256
"""Most requests about which a client may have unanswered calls; ordinary clients have a few."""


@dataclass(frozen=True, slots=True)
class ClientConnection:
    """A client and its connection; `epoch` orders the connections of one client (P2)."""

    peer: Peer
    client: bytes
    epoch: int


class Requests:
    """Handles the requests of a gateway's clients."""

    def __init__(
        self, settings: ClientProtocolSettings, broker: Broker, cache: Cache, locks: LockClient, clock: Clock
    ) -> None:
        self._settings, self._broker, self._cache, self._locks = settings, broker, cache, locks
        self._clock = clock
        self._decisions: Batcher[Decision, Answer] = Batcher(locks.decide, rows)
        self._tasks: set[asyncio.Task[None]] = set()
        self._unanswered: Counter[bytes] = Counter()
        self.drains = WriteBackpressure()
        self.live = ActiveRequests()

    async def start(self) -> None:
        """Consume the gateway's events and begin to poll. Call it before the gateway accepts connections.

        Raises Unavailable.
        """
        queue = topology.gateway_events(self._settings.incarnation)
        await self._broker.declare(topology.JOBS_DEAD)
        await self._broker.declare(topology.job_offers(self._settings.retention_s))
        await self._broker.declare(queue)
        await self._broker.consume(queue.name, self._on_event, EVENTS_AT_ONCE)
        self._spawn(keep_polling(self.sweep, POLL_S, self._clock))

    async def stop(self) -> None:
        """Cancel all background tasks."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None], client: bytes = b"", count: int = 1) -> None:
        """Run `work` in a background task; it counts as unanswered calls of `client` about `count` requests."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self._unanswered[client] += count
        task.add_done_callback(partial(self._ended, client, count))

    def _ended(self, client: bytes, count: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._unanswered[client] -= count
        if not self._unanswered[client]:
            del self._unanswered[client]
        if not task.cancelled() and task.exception() is not None:
            log.error("client request task failed", exc_info=task.exception(), extra={"action": "ingress_bug"})

    # --- messages of clients -----------------------------------------------------------------------

    def is_over_limit(self, connection: ClientConnection, submit: protocol.Submit) -> bool:
        """Return whether this would exceed the client's limit of live requests; if so, send an error (P10)."""
        limit = self._settings.live_requests
        if self.live.find(connection.client, submit.id) is not None or self.live.open_count(connection.client) < limit:
            return False
        text = f"you have {limit} live request(s), the limit: wait for it, or cancel it"
        send(connection.peer, protocol.Error(ErrorCode.BUSY, text, submit.id, retry_after_s=1.0))
        return True

    def submit(self, connection: ClientConnection, submit: protocol.Submit, kind: JobKind[Any], spec: Any) -> None:
        """Offer a valid request of a client that is not over its limit."""
        packed = kind.pack_spec(spec)
        digest = hashlib.sha256(submit.kind.encode() + b"\0" + packed).digest()
        known = self.live.find(connection.client, submit.id)
        # one that was resumed here has no digest, and is offered once more
        is_told = known is not None and known.peer == connection.peer and known.digest
        if known is not None and is_told and not (submit.again and known.digest == digest):
            self._submit_twice(known, digest)
            return
        if self._refuses(connection, 1, submit.id):
            return
        keys = kind.sharing_keys(spec)
        offer = Offer(
            client=connection.client,
            request=submit.id,
            gateway=self._settings.incarnation,
            epoch=connection.epoch,
            kind=kind.name,
            spec=packed,
            run_key=keys.run_key,
            fresh_s=keys.max_age_s,
            max_seconds=kind.timeout_s(spec),
            stream=submit.stream,
        )
        live = self._live(connection, submit.id, digest=digest, stream=submit.stream, stage=Stage.OFFERED)
        self._spawn(self._offer(live, offer, None if submit.again else keys), connection.client)

    def _submit_twice(self, known: ActiveRequest, digest: bytes) -> None:
        """Handle a repeated id: it must be the same request; otherwise an error is sent (P3)."""
        if known.digest != digest:
            text = "this id names another request of yours: choose a new id"
            send(known.peer, protocol.Error(ErrorCode.CONFLICT, text, known.request))
        elif known.stage is Stage.ACCEPTED:
            send(known.peer, protocol.Accepted(known.request))

    def resume(self, connection: ClientConnection, requests: list[str]) -> None:
        """Find out the status of requests that a reconnected client asks for."""
        wanted = list(dict.fromkeys(requests))
        known = {request: self.live.find(connection.client, request) for request in wanted}
        new = [request for request, live in known.items() if live is None or live.peer != connection.peer]
        if self._refuses(connection, len(new)):
            return
        for request in new:
            self._live(connection, request, stream=True, counts=False)
        self._spawn(self._resume(connection, wanted), connection.client, len(wanted))

    def cancel(self, connection: ClientConnection, request: str) -> None:
        """Give a request up for its client."""
        if self._refuses(connection, 1):
            return
        if self.live.find(connection.client, request) is None:
            self._live(connection, request, counts=False)
        self._spawn(self._cancel(connection, request), connection.client)

    def acknowledge(self, connection: ClientConnection, request: str) -> None:
        """Take the client's acknowledgement of a result."""
        live = self.live.find(connection.client, request)
        if live is not None:
            self._forget(live)
        if (live is None or live.is_stored) and not self._refuses(connection, 0):
            self._spawn(self._acknowledge(connection, request), connection.client)

    def is_sending(self, client: bytes, peer: Peer) -> bool:
        """Return whether a result is being sent on this connection."""
        return any(live.stage is Stage.DELIVERING and live.peer == peer for live in self.live.of(client))

    def gone(self, connection: ClientConnection) -> None:
        """Clean up after a closed connection, and tell the store that the client has disconnected."""
        self.drains.notify(connection.peer)
        if self.live.drop_peer(connection.client, connection.peer):
            self._spawn(self._send_decision(Detach(self._settings.incarnation, [connection.client], connection.epoch)))

    def _refuses(self, connection: ClientConnection, more: int, request: str | None = None) -> bool:
        """Return whether the client has too much open for `more` requests; if so, send an error (I8)."""
        if (
            self._unanswered[connection.client] < MAX_UNANSWERED
            and self.live.count(connection.client) + more <= protocol.MAX_IDS
        ):
            return False
        text = "you have too much open: wait for answers, and acknowledge results"
        send(connection.peer, protocol.Error(ErrorCode.OVERLOADED, text, request, retry_after_s=1.0))
        return True

    def _live(self, connection: ClientConnection, request: str, **more: Any) -> ActiveRequest:
        """Add an active request of this connection, which is held open while the request waits."""
        known = self.live.find(connection.client, request)
        if known is not None:
            self._forget(known)
        live = ActiveRequest(connection.client, request, connection.peer, **more)
        self.live.add(live)
        connection.peer.hold()
        return live

    # --- towards the backend -------------------------------------------------------------------------

    async def _offer(self, live: ActiveRequest, offer: Offer, keys: ResultSharing | None) -> None:
        """Answer from the cache if `keys` allow it and it has a result; otherwise publish the offer."""
        if keys is not None:
            answer = await result_cache.find(self._cache, offer.kind, keys, offer.spec, self._clock.wall())
            if not live.is_open:
                return
            if answer is not None:
                live.is_stored = False
                ending = Ending(Outcome.DONE, parts=len(answer.parts), summary=answer.summary)
                await self._deliver(live, 0, ending, answer.parts)
                return
        jobs = topology.job_offers(self._settings.retention_s).name
        reach(Point.SUBMIT_BEGUN)
        try:
            await self._broker.publish(jobs, pack(offer))
        except Unavailable as problem:
            if live.is_open:
                text = f"no new jobs at the moment ({problem.reason}): try again in {problem.retry_after_s:g} s"
                send(live.peer, protocol.Error(ErrorCode.OVERLOADED, text, live.request, problem.retry_after_s))
                self._forget(live)
            return
        reach(Point.SUBMIT_PUBLISHED)
        if live.stage is Stage.OFFERED:
            live.stage = Stage.ACCEPTED
            send(live.peer, protocol.Accepted(live.request))
        reach(Point.SUBMIT_ACCEPTED)

    async def _resume(self, connection: ClientConnection, requests: list[str]) -> None:
        attach = Attach(connection.client, connection.epoch, self._settings.incarnation, requests)
        reach(Point.RESUME_BEGUN)
        statuses = await self._decide(attach, lambda: connection.peer.is_open)
        reach(Point.RESUME_ANSWERED)
        for status in statuses:
            live = self.live.find(connection.client, status.request)
            if live is not None and live.peer == connection.peer:
                self._act_on(live, status)

    async def _cancel(self, connection: ClientConnection, request: str) -> None:
        reach(Point.CANCEL_BEGUN)
        statuses = await self._decide(CancelRequest(connection.client, request), lambda: connection.peer.is_open)
        reach(Point.CANCEL_ANSWERED)
        for status in statuses:
            if status.state is RequestState.WAITING and status.job:
                await self._broker.broadcast(topology.CONTROL, pack(JobChanged(status.job)))
            live = self.live.find(connection.client, request)
            if live is not None:
                self._act_on(live, status)

    def _act_on(self, live: ActiveRequest, status: RequestStatus) -> None:
        if status.state is RequestState.ENDED and status.ending is not None:
            if live.is_open:
                self._spawn(self._deliver(live, status.job, status.ending, None))
        elif status.state in (RequestState.EXPIRED, RequestState.UNKNOWN):
            told = protocol.Expired if status.state is RequestState.EXPIRED else protocol.Unknown
            send(live.peer, told(live.request))
            self._forget(live)
        live.counts = live.counts or status.job > 0

    async def _acknowledge(self, connection: ClientConnection, request: str) -> None:
        reach(Point.ACK_BEGUN)
        await self._decide(Acknowledge(connection.client, request))
        reach(Point.ACK_ANSWERED)

    async def _send_decision(self, decision: Decision) -> None:
        await self._decide(decision)

    async def _decide(self, decision: Decision, still: Callable[[], bool] = lambda: True) -> list[RequestStatus]:
        """Ask the lock servers until one answers, or until `still` returns False."""
        while still():
            try:
                answer = (await self._decisions.ask([decision]))[0]
            except Unavailable:
                await self._clock.sleep(RETRY_S)
                continue
            return answer.requests if isinstance(answer, Statuses) else []
        return []

    # --- events and results --------------------------------------------------------------------------

    def _forget(self, live: ActiveRequest) -> None:
        if self.live.drop(live) and live.stage is not Stage.SENT:
            live.stage = Stage.SENT
            live.peer.release()

    async def _deliver(self, live: ActiveRequest, job: int, ending: Ending, parts: list[bytes] | None) -> None:
        """Send the result, at most once on a connection (I3)."""
        if not live.is_open:
            return
        live.stage = Stage.DELIVERING
        reach(Point.DELIVERY_BEGUN)
        try:
            sent = await deliver(live, job, ending, parts, self._locks.read_parts, self.drains, self._clock)
        except DecodeError as problem:
            log.error(
                "stored result is damaged", extra={"action": "result_damaged", "job": job, "reason": problem.message}
            )
            send(live.peer, protocol.Error(ErrorCode.INTERNAL, "the stored result is damaged", live.request))
            self._forget(live)
            return
        reach(Point.DELIVERY_SENT)
        if sent and live.stage is Stage.DELIVERING:
            live.stage = Stage.SENT
            live.peer.release()

    async def _on_event(self, delivery: Delivery) -> None:
        try:
            event = read_gateway_event(delivery.body)
        except DecodeError as problem:
            log.error("unreadable event dropped", extra={"action": "mail_unreadable", "reason": problem.message})
            delivery.acknowledge()
            return
        delivery.acknowledge()
        if isinstance(event, JobFinished):
            reach(Point.KNOCK_TAKEN)
            self._on_job_finished(event)
        else:
            self._on_progress_event(event)

    def _on_job_finished(self, finished: JobFinished) -> None:
        parts = [finished.only_part] if finished.only_part is not None else None
        for client, request in finished.requests:
            live = self.live.find(client, request)
            if live is None or not live.is_open:
                continue
            if finished.ending == TAKEN_ENDING and finished.ending.failure is not None:
                send(live.peer, protocol.Error(ErrorCode.CONFLICT, finished.ending.failure.message, request))
                self._forget(live)
            else:
                self._spawn(self._deliver(live, finished.job, finished.ending, parts))

    def _on_progress_event(self, event: LevelEvent | ProgressEvent) -> None:
        for client, request in event.requests:
            live = self.live.find(client, request)
            if live is None or not live.is_open or not live.stream or live.peer.unsent_bytes > UNSENT_BYTES:
                continue
            if isinstance(event, ProgressEvent):
                send(live.peer, protocol.Progress(request, event.level, event.done, event.known))
            else:
                send(live.peer, protocol.Level(request, event.level, event.seq, Raw(event.items)))

    async def sweep(self) -> FinishedRequests:
        """Poll for finished requests whose event was lost, and for those whose offer never came. Raises Unavailable."""
        answer = await self._locks.sweep(self._settings.incarnation)
        absent: defaultdict[bytes, list[str]] = defaultdict(list)
        for client, request in [*answer.unknown, *(pair for finished in answer.knocks for pair in finished.requests)]:
            if not self.live.count(client):
                absent[client].append(request)
        for client, requests in absent.items():
            self._spawn(self._leave_behind(client, requests))
        for finished in answer.knocks:
            self._on_job_finished(finished)
        for client, request in answer.unknown:
            live = self.live.find(client, request)
            if live is not None and live.stage is Stage.ACCEPTED:
                send(live.peer, protocol.Unknown(request))
                self._forget(live)
        return answer

    async def _leave_behind(self, client: bytes, requests: list[str]) -> None:
        """Tell the store that the client disconnected before these requests were stored.

        The requests are named, because the client may be connected again and idle; its new requests are not affected.
        """
        detach = Detach(self._settings.incarnation, [client], requests=requests)
        await self._decide(detach, lambda: not self.live.count(client))
