"""The job protocol (`wire.messages.client`) as a gateway application.

Callbacks decide at once, on what is in memory (I7); what needs another process becomes a task that starts from there
and looks again at the live table when it comes back. For an idle client there is nothing but a cell: 16 bytes of
client id, 8 of epoch, one count of bad messages (I6).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from msgspec import Raw

from backend import answers
from backend.broker import topology
from backend.broker.port import Broker, Delivery
from backend.cache.port import Cache
from backend.ingress.delivery import UNSENT_BYTES, Drains, deliver, say
from backend.ingress.live import LiveRequest, LiveTable, Stage
from backend.kinds.api import JobKind
from backend.kinds.registry import Kinds
from backend.lock.batch import Batcher
from backend.lock.client import LockClient
from gateway.api import Application, Gateway, Message, Peer
from gateway.cells import Cells
from wire.clock import SYSTEM_CLOCK, Clock
from wire.codec import pack
from wire.codes import BAD_SESSION, HELLO_EXPECTED, REPLACED, TOO_MANY_ERRORS, UNSUPPORTED, ErrorCode
from wire.errors import BadInput, DecodeError, TokenError, Unavailable
from wire.messages import client as protocol
from wire.messages.client import Ack, Cancel, Hello, Resume, Submit
from wire.messages.lock import (
    Acknowledge,
    Answer,
    Attach,
    Decision,
    Detach,
    Knock,
    Offer,
    RequestState,
    RequestStatus,
    Statuses,
    Withdraw,
)
from wire.messages.outcome import Ending, Outcome
from wire.messages.work import LevelNews, Nudge, ProgressNews, read_mail
from wire.tokens import CLIENT_ID_BYTES, Keyring, Session

log = logging.getLogger(__name__)

EPOCH_BYTES = 8
BAD_MESSAGES = 20
"""A client that sends so many bad messages on one connection is closed: it does not listen to the answers."""
SWEEP_S = 10.0
"""How often lost knocks are looked for (P26)."""
RETRY_S = 1.0
MAIL_AT_ONCE = 256
NOBODY = bytes(CLIENT_ID_BYTES)


@dataclass(frozen=True, slots=True)
class IngressSettings:
    """`incarnation` is the gateway's. Sessions last as long as a result may wait, and the grace on top (P1)."""

    incarnation: str
    live_requests: int = 1
    message_bytes: int = 64 * 1024
    retention_s: float = 24 * 3600.0
    session_s: float = 25 * 3600.0


class Ingress(Application):
    """A gateway application and, for what it does in the background, a `Part`."""

    subprotocols = (protocol.SUBPROTOCOL,)

    def __init__(
        self,
        settings: IngressSettings,
        broker: Broker,
        cache: Cache,
        locks: LockClient,
        kinds: Kinds,
        keys: Keyring,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings, self._broker, self._cache, self._locks = settings, broker, cache, locks
        self._kinds, self._keys, self._clock = kinds, keys, clock
        self._decisions: Batcher[Decision, Answer] = Batcher(locks.decide)
        self._clients = Cells(CLIENT_ID_BYTES)
        self._epochs = Cells(EPOCH_BYTES)
        self._bad_counts = Cells(1)
        self._drains = Drains()
        self._tasks: set[asyncio.Task[None]] = set()
        self.live = LiveTable()

    # --- lifecycle -------------------------------------------------------------------------------

    async def start_background(self) -> None:
        """Open the mailbox; before the gateway takes connections."""
        queue = topology.done(self._settings.incarnation)
        await self._broker.declare(topology.JOBS_DEAD)
        await self._broker.declare(topology.jobs_assigned(self._settings.retention_s))
        await self._broker.declare(queue)
        await self._broker.consume(queue.name, self._on_mail, MAIL_AT_ONCE)
        self._spawn(self._sweep_on())

    async def stop_background(self) -> None:
        """End every task."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("ingress task failed", exc_info=task.exception(), extra={"action": "ingress_bug"})

    def start(self, gateway: Gateway) -> None:
        """The mailbox is open already: nothing more to do."""

    def stop(self) -> None:
        """What runs in the background ends with `stop_background`."""

    # --- callbacks of the gateway ------------------------------------------------------------------

    def on_open(self, peer: Peer) -> None:
        del self._clients[peer.fd], self._epochs[peer.fd], self._bad_counts[peer.fd]

    def on_message(self, peer: Peer, message: Message) -> None:
        if isinstance(message, bytes):
            peer.close(UNSUPPORTED)
            return
        try:
            said = protocol.read_from_client(message)
        except DecodeError as problem:
            self._complain(peer, problem)
            return
        client = self._clients[peer.fd]
        if isinstance(said, Hello):
            self._hello(peer, said, client)
        elif client == NOBODY:
            peer.close(HELLO_EXPECTED)
        else:
            self._dispatch(peer, client, said)

    def on_drained(self, peer: Peer) -> None:
        self._drains.wake(peer)

    def on_close(self, peer: Peer, code: int, reason: str) -> None:
        client = self._clients[peer.fd]
        self._drains.wake(peer)
        if self.live.drop_peer(client, peer):
            self._spawn(self._tell_detached(client))

    # --- what a client says ------------------------------------------------------------------------

    def _dispatch(self, peer: Peer, client: bytes, said: Submit | Resume | Ack | Cancel) -> None:
        match said:
            case Submit():
                self._submit(peer, client, said)
            case Resume():
                self._spawn(self._resume(peer, client, list(dict.fromkeys(said.ids))))
            case Ack():
                self._ack(client, said.id)
            case Cancel():
                self._spawn(self._cancel(peer, client, said.id))

    def _complain(self, peer: Peer, problem: BadInput, request: str | None = None) -> None:
        count = self._bad_counts[peer.fd][0] + 1
        self._bad_counts[peer.fd] = bytes((min(count, 255),))
        say(peer, protocol.Error(problem.code, problem.message, request))
        if count >= BAD_MESSAGES:
            peer.close(TOO_MANY_ERRORS)

    def _hello(self, peer: Peer, hello: Hello, known: bytes) -> None:
        if known != NOBODY:
            self._complain(peer, BadInput(ErrorCode.BAD_MESSAGE, "hello was said already: it comes once, first"))
            return
        now = self._clock.wall()
        try:
            client = self._keys.read_session(hello.session, now).client if hello.session else _new_client()
        except TokenError as problem:
            self._complain(peer, problem)
            peer.close(BAD_SESSION)
            return
        if not self._replace(client, hello.epoch):
            peer.close(REPLACED)
            return
        self._clients[peer.fd] = client
        self._epochs[peer.fd] = hello.epoch.to_bytes(EPOCH_BYTES, "big")
        settings = self._settings
        session = self._keys.sign_session(Session(int(now + settings.session_s), client))
        limits = protocol.Limits(settings.message_bytes, settings.live_requests, int(settings.retention_s))
        say(peer, protocol.Welcome(session, limits))

    def _replace(self, client: bytes, epoch: int) -> bool:
        """Of two connections of one client that has live requests here, the greater epoch stays (P2)."""
        for peer in {live.peer for live in self.live.of(client)}:
            if int.from_bytes(self._epochs[peer.fd], "big") > epoch:
                return False
            peer.close(REPLACED)
        return True

    def _submit(self, peer: Peer, client: bytes, submit: Submit) -> None:
        try:
            kind = self._kinds.find(submit.kind)
            spec = kind.read_spec(bytes(submit.spec))
        except BadInput as problem:
            self._complain(peer, problem, submit.id)
            return
        packed = kind.pack_spec(spec)
        digest = hashlib.sha256(submit.kind.encode() + b"\0" + packed).digest()
        known = self.live.find(client, submit.id)
        if known is not None and known.peer == peer and not submit.again:
            self._submit_twice(peer, known, digest)
            return
        if known is None and self.live.open_count(client) >= self._settings.live_requests:
            text = f"you have {self._settings.live_requests} live request(s), the limit: wait for it, or cancel it"
            say(peer, protocol.Error(ErrorCode.BUSY, text, submit.id, retry_after_s=1.0))
            return
        live = LiveRequest(client, submit.id, peer, digest, submit.stream, Stage.OFFERED)
        self.live.add(live)
        peer.hold()
        self._spawn(self._offer(live, submit, kind, spec, packed))

    def _submit_twice(self, peer: Peer, known: LiveRequest, digest: bytes) -> None:
        """The same id again is the same request, or an error (P3)."""
        if known.digest and known.digest != digest:
            text = "this id names another request of yours: choose a new id"
            say(peer, protocol.Error(ErrorCode.CONFLICT, text, known.request))
        elif known.stage is Stage.ACCEPTED:
            say(peer, protocol.Accepted(known.request))

    async def _offer(self, live: LiveRequest, submit: Submit, kind: JobKind, spec: Any, packed: bytes) -> None:  # type: ignore[type-arg]
        keys = kind.keys(spec)
        if not submit.again:
            answer = await answers.find(self._cache, kind.name, keys, packed, self._clock.wall())
            if answer is not None:
                live.is_stored = False
                ending = Ending(Outcome.DONE, parts=len(answer.parts), summary=answer.summary)
                await self._deliver(live, 0, ending, answer.parts)
                return
        offer = Offer(
            client=live.client,
            request=live.request,
            gateway=self._settings.incarnation,
            epoch=int.from_bytes(self._epochs[live.peer.fd], "big"),
            kind=kind.name,
            spec=packed,
            run_key=keys.run,
            fresh_s=keys.fresh_s,
            max_seconds=kind.max_seconds(spec),
            stream=submit.stream,
        )
        jobs = topology.jobs_assigned(self._settings.retention_s).name
        try:
            await self._broker.publish(jobs, pack(offer))
        except Unavailable as problem:
            text = f"no new jobs at the moment ({problem.reason}): try again in {problem.retry_after_s:g} s"
            say(live.peer, protocol.Error(ErrorCode.OVERLOADED, text, live.request, problem.retry_after_s))
            self._forget(live)
            return
        if live.stage is Stage.OFFERED:
            live.stage = Stage.ACCEPTED
            say(live.peer, protocol.Accepted(live.request))

    async def _resume(self, peer: Peer, client: bytes, requests: list[str]) -> None:
        epoch = int.from_bytes(self._epochs[peer.fd], "big")
        for request in requests:
            known = self.live.find(client, request)
            if known is None or known.peer != peer:
                self.live.add(LiveRequest(client, request, peer, stream=True))
                peer.hold()
        attach = Attach(client, epoch, self._settings.incarnation, requests)
        for status in await self._decide(attach, lambda: peer.is_open):
            live = self.live.find(client, status.request)
            if live is not None and live.peer == peer:
                await self._act_on(live, status)

    async def _cancel(self, peer: Peer, client: bytes, request: str) -> None:
        for status in await self._decide(Withdraw(client, request), lambda: peer.is_open):
            live = self.live.find(client, request)
            if live is None:
                live = LiveRequest(client, request, peer)
                self.live.add(live)
                peer.hold()
            if status.state is RequestState.WAITING and status.job:
                await self._broker.broadcast(topology.CONTROL, pack(Nudge(status.job)))
            await self._act_on(live, status)

    async def _act_on(self, live: LiveRequest, status: RequestStatus) -> None:
        if status.state is RequestState.ENDED and status.ending is not None:
            if live.is_open:
                self._spawn(self._deliver(live, status.job, status.ending, None))
        elif status.state in (RequestState.EXPIRED, RequestState.UNKNOWN):
            told = protocol.Expired if status.state is RequestState.EXPIRED else protocol.Unknown
            say(live.peer, told(live.request))
            self._forget(live)

    def _ack(self, client: bytes, request: str) -> None:
        live = self.live.find(client, request)
        if live is not None:
            self._forget(live)
        if live is None or live.is_stored:
            self._spawn(self._acknowledge(client, request))

    async def _acknowledge(self, client: bytes, request: str) -> None:
        await self._decide(Acknowledge(client, request))

    async def _tell_detached(self, client: bytes) -> None:
        await self._decide(Detach(self._settings.incarnation, [client]))

    async def _decide(self, decision: Decision, still: Callable[[], bool] = lambda: True) -> list[RequestStatus]:
        """Ask a lock server until one answers, or nobody wants to know any more."""
        while still():
            try:
                answer = (await self._decisions.ask([decision]))[0]
            except Unavailable:
                await self._clock.sleep(RETRY_S)
                continue
            return answer.requests if isinstance(answer, Statuses) else []
        return []

    # --- what comes back -----------------------------------------------------------------------------

    def _forget(self, live: LiveRequest) -> None:
        if self.live.drop(live) and live.stage is not Stage.SENT:
            live.peer.release()

    async def _deliver(self, live: LiveRequest, job: int, ending: Ending, parts: list[bytes] | None) -> None:
        """Send the result once in this connection's life (I3)."""
        if not live.is_open:
            return
        live.stage = Stage.DELIVERING
        sent = await deliver(live, job, ending, parts, self._locks.read_parts, self._drains, self._clock)
        if sent:
            live.stage = Stage.SENT
            live.peer.release()

    async def _on_mail(self, delivery: Delivery) -> None:
        try:
            mail = read_mail(delivery.body)
        except DecodeError as problem:
            log.error("unreadable mail dropped", extra={"action": "mail_unreadable", "reason": problem.message})
            delivery.acknowledge()
            return
        delivery.acknowledge()
        if isinstance(mail, Knock):
            self._on_knock(mail)
        else:
            self._on_news(mail)

    def _on_knock(self, knock: Knock) -> None:
        parts = [knock.only_part] if knock.only_part is not None else None
        for client, request in knock.requests:
            live = self.live.find(client, request)
            if live is not None and live.is_open:
                self._spawn(self._deliver(live, knock.job, knock.ending, parts))

    def _on_news(self, news: LevelNews | ProgressNews) -> None:
        for client, request in news.requests:
            live = self.live.find(client, request)
            if live is None or not live.is_open or not live.stream or live.peer.unsent_bytes > UNSENT_BYTES:
                continue
            if isinstance(news, ProgressNews):
                say(live.peer, protocol.Progress(request, news.level, news.done, news.known))
            else:
                say(live.peer, protocol.Level(request, news.level, news.seq, Raw(news.items)))

    async def _sweep_on(self) -> None:
        """Find knocks that got lost, and requests whose offers never came."""
        while True:
            await self._clock.sleep(SWEEP_S)
            try:
                swept = await self._locks.sweep(self._settings.incarnation)
            except Unavailable as problem:
                log.warning("sweep not answered", extra={"action": "sweep_missed", "reason": problem.reason})
                continue
            for knock in swept.knocks:
                self._on_knock(knock)
            for client, request in swept.unknown:
                live = self.live.find(client, request)
                if live is not None and live.stage is Stage.ACCEPTED:
                    say(live.peer, protocol.Unknown(request))
                    self._forget(live)


def _new_client() -> bytes:
    return secrets.token_bytes(CLIENT_ID_BYTES)
