"""The client's side of the job protocol: messages in, effects out. Pure: no sockets, no clock, no random numbers.

A request is a `PendingRequest` from `submit` to its end, over any number of connections::

            submit sent        accepted            result, expired, error
      NEW ─────────────▶ SENT ──────────▶ ACCEPTED ────────────────────▶ ended
       ▲                  │ ▲                │
       └── link lost ─────┘ └──── unknown ───┘   (both are submitted again, marked `again`)

After a reconnect, requests that were accepted are resumed and the others are submitted again: the same id with the same
spec is the same request (P3), so nothing is duplicated. Parts of a result are counted from 0 again on each connection
(P29). A result is acknowledged each time it arrives, but delivered to the application once (I3): the session remembers
the ids of ended requests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from msgspec import UNSET, Raw

from roost.client.effects import (
    Answer,
    Effect,
    Ended,
    Moved,
    News,
    Postponed,
    Restart,
    Send,
    Welcomed,
)
from roost.errors import Busy, Incomplete, Overloaded, ResultGone
from roost.wire.codec import to_json
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, RoostError, Unavailable
from roost.wire.messages import client as protocol
from roost.wire.messages.client import (
    MAX_IDS,
    Ack,
    Cancel,
    FromGateway,
    Hello,
    Limits,
    Resume,
    Submit,
)
from roost.wire.messages.outcome import Outcome

REPEATED_ACKS = 100
"""Number of acknowledgements that are repeated on the next links, because they may have been lost with the last one."""

ACK_REPEATS = 3
"""Links on which each is repeated. While the store is down a gateway keeps acknowledgements in memory, and loses them
when it is killed: with one repetition, 2 of 9,000 acknowledgements were lost when gateways were killed every ten
seconds."""

REMEMBERED_ENDS = 10_000
"""Ended requests that are remembered; a repeated result arrives within moments of the first."""

TRIES_FOR_PARTS = 3
"""A request fails when its result arrives with parts missing on this many connections."""


class Stage(Enum):
    """The state of a request; the values are for people."""

    NEW = "to be sent on the next welcome"
    SENT = "submitted on this connection, not accepted yet"
    ACCEPTED = "stored by the system, which keeps its outcome"


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request that has not ended. `spec` is None if an earlier run of the program submitted it."""

    id: str
    kind: str
    spec: bytes | None
    stream: bool = False
    stage: Stage = Stage.NEW
    again: bool = False
    was_sent: bool = False
    is_cancelled: bool = False
    damaged: int = 0
    parts: list[bytes] = field(default_factory=list)

    def as_submit(self) -> Submit:
        """The message that submits the request, which must have a spec."""
        assert self.spec is not None
        return Submit(self.id, self.kind, Raw(self.spec), self.stream, self.again)


class Session:
    """The state of one client over all its connections.

    With `waits`, requests refused as busy or overloaded are tried again.
    """

    def __init__(self, token: str | None = None, epoch: int = 0, waits: bool = False) -> None:
        self.token = token
        self.epoch = epoch
        self._waits = waits
        self._limits: Limits | None = None
        self._pending: dict[str, PendingRequest] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._acked: OrderedDict[str, int] = OrderedDict()
        """Acknowledged requests, and on how many more links the acknowledgement is repeated."""

    @property
    def is_welcome(self) -> bool:
        """Whether requests can be sent on the current connection."""
        return self._limits is not None

    def unfinished(self) -> list[str]:
        """Ids of requests that have not ended."""
        return list(self._pending)

    # --- calls of the application -----------------------------------------------------------------

    def submit(self, request: str, kind: str, spec: bytes | None, stream: bool = False) -> list[Effect]:
        """Ask for a job or, without a spec, for the outcome of a request of an earlier run. The id must be new."""
        assert request not in self._pending
        self._ended.pop(request, None)
        pending = PendingRequest(request, kind, spec, stream, Stage.ACCEPTED if spec is None else Stage.NEW)
        self._pending[request] = pending
        return self._send(pending) if self.is_welcome else []

    def retry(self, request: str) -> list[Effect]:
        """Send a postponed request again.

        If it was cancelled meanwhile, send the cancellation again: the system may have the request despite the refusal.
        """
        pending = self._pending.get(request)
        if pending is None or pending.stage is not Stage.NEW or not self.is_welcome:
            return []
        return [Send(Cancel(request))] if pending.is_cancelled else self._send(pending)

    def cancel(self, request: str) -> list[Effect]:
        """Cancel a request. It still ends with a result: what was found so far."""
        pending = self._pending.get(request)
        if pending is None or pending.is_cancelled:
            return []
        pending.is_cancelled = True
        if not pending.was_sent and pending.stage is Stage.NEW:
            return self._end(pending, Answer(Outcome.CANCELLED))
        return [Send(Cancel(request))] if self.is_welcome else []

    # --- events of the connection -----------------------------------------------------------------

    def opened(self, now_ms: int) -> list[Effect]:
        """A new connection is open, and the previous one is over (P2). Its epoch is at least `now_ms` (wall time)."""
        self.lost()
        self.epoch = max(self.epoch + 1, now_ms)
        return [Send(Hello(self.token, self.epoch))]

    def lost(self) -> None:
        """The connection is lost."""
        self._limits = None
        for pending in self._pending.values():
            pending.parts.clear()
            if pending.stage is Stage.SENT:  # its offer may be on its way to the store, so the cache must not answer
                pending.stage, pending.again = Stage.NEW, True

    def forget_token(self) -> None:
        """The gateway refused the session: start as a new client, without any accepted request."""
        self.token = None
        self._acked.clear()
        for pending in self._pending.values():
            if pending.spec is not None:
                pending.stage = Stage.NEW

    def abandon(self, problem: RoostError) -> list[Effect]:
        """No connection is possible: end all requests with this error."""
        return [effect for pending in list(self._pending.values()) for effect in self._end(pending, problem)]

    def received(self, message: FromGateway) -> list[Effect]:
        """Process a message that arrived on the current connection."""
        if isinstance(message, protocol.Welcome):
            return self._welcome(message)
        if isinstance(message, protocol.Move):
            return [Moved(message.url, message.ticket, message.after_ms / 1000.0)]
        if message.id is None:
            return []
        pending = self._pending.get(message.id)
        if pending is None:
            return self._repeated(message)
        return self._HANDLERS[type(message)](self, pending, message)

    def _welcome(self, welcome: protocol.Welcome) -> list[Effect]:
        self.token, self._limits = welcome.session, welcome.limits
        effects: list[Effect] = [Welcomed(welcome.session)]
        effects += self._acks_again()
        known = [p.id for p in self._pending.values() if p.stage is Stage.ACCEPTED or (p.is_cancelled and p.was_sent)]
        effects += [Send(Resume(known[first : first + MAX_IDS])) for first in range(0, len(known), MAX_IDS)]
        for pending in list(self._pending.values()):
            if pending.is_cancelled:
                effects.append(Send(Cancel(pending.id)))
            elif pending.stage is Stage.NEW:
                effects += self._send(pending)
        return effects

    def _acks_again(self) -> list[Effect]:
        effects: list[Effect] = [Send(Ack(request)) for request in self._acked]
        left = ((request, count - 1) for request, count in self._acked.items() if count > 1)
        self._acked = OrderedDict(left)
        return effects

    def _send(self, pending: PendingRequest) -> list[Effect]:
        """Submit or resume a request after the gateway has sent `welcome`."""
        assert self._limits is not None
        if pending.spec is None:
            return [Send(Resume([pending.id]))]
        submit = pending.as_submit()
        size = len(to_json(submit))
        if size > self._limits.message_bytes:
            text = f"make the request smaller: {size} bytes are more than the {self._limits.message_bytes} allowed"
            return self._end(pending, BadInput(ErrorCode.TOO_BIG, text))
        pending.stage, pending.was_sent = Stage.SENT, True
        return [Send(submit)]

    def _repeated(self, message: FromGateway) -> list[Effect]:
        """Acknowledge again a result that has already ended, because its first acknowledgement was lost."""
        if isinstance(message, protocol.Result) and message.id in self._ended:
            return [Send(Ack(message.id))]
        return []

    def _on_accepted(self, pending: PendingRequest, _: FromGateway) -> list[Effect]:
        pending.stage = Stage.ACCEPTED
        return []

    def _on_news(self, pending: PendingRequest, message: FromGateway) -> list[Effect]:
        assert isinstance(message, protocol.Progress | protocol.Level)
        return [News(pending.id, message)]

    def _on_part(self, pending: PendingRequest, message: FromGateway) -> list[Effect]:
        assert isinstance(message, protocol.Part)
        if message.seq == 0:
            pending.parts.clear()
        if message.seq == len(pending.parts):
            pending.parts.append(bytes(message.data))
        return []

    def _on_result(self, pending: PendingRequest, message: FromGateway) -> list[Effect]:
        assert isinstance(message, protocol.Result)
        if len(pending.parts) != message.parts:
            return self._on_damage(pending, message.parts)
        summary = b"" if message.summary is UNSET else bytes(message.summary)
        answer = Answer(message.outcome, tuple(pending.parts), summary, message.failure)
        self._acked[pending.id] = ACK_REPEATS
        if len(self._acked) > REPEATED_ACKS:
            self._acked.popitem(last=False)
        return [*self._end(pending, answer), Send(Ack(pending.id))]

    def _on_damage(self, pending: PendingRequest, expected_count: int) -> list[Effect]:
        pending.damaged += 1
        if pending.damaged >= TRIES_FOR_PARTS:
            return self._end(pending, Incomplete(pending.id, len(pending.parts), expected_count))
        return [Restart("a result arrived with parts missing")]

    def _on_unknown(self, pending: PendingRequest, _: FromGateway) -> list[Effect]:
        if pending.is_cancelled:
            return self._end(pending, Answer(Outcome.CANCELLED))
        if pending.spec is None:
            return self._end(pending, ResultGone(pending.id, "the system does not know it"))
        pending.again = True
        pending.stage = Stage.NEW
        return self._send(pending)

    def _on_expired(self, pending: PendingRequest, _: FromGateway) -> list[Effect]:
        return self._end(pending, ResultGone(pending.id, "its result was kept for the retention time and is gone"))

    def _on_error(self, pending: PendingRequest, message: FromGateway) -> list[Effect]:
        assert isinstance(message, protocol.Error)
        problem = as_exception(message.code, message.message, message.retry_after_s)
        if isinstance(problem, Unavailable) and (self._waits or pending.is_cancelled):
            pending.stage = Stage.NEW
            return [Postponed(pending.id, problem.retry_after_s)]
        return self._end(pending, problem)

    def _end(self, pending: PendingRequest, answer: Answer | RoostError) -> list[Effect]:
        del self._pending[pending.id]
        self._ended[pending.id] = None
        if len(self._ended) > REMEMBERED_ENDS:
            self._ended.popitem(last=False)
        return [Ended(pending.id, answer)]

    _HANDLERS: dict[type, Callable[[Session, PendingRequest, FromGateway], list[Effect]]] = {  # noqa: RUF012  never changed
        protocol.Accepted: _on_accepted,
        protocol.Progress: _on_news,
        protocol.Level: _on_news,
        protocol.Part: _on_part,
        protocol.Result: _on_result,
        protocol.Unknown: _on_unknown,
        protocol.Expired: _on_expired,
        protocol.Error: _on_error,
    }


def as_exception(code: str, message: str, retry_after_s: float | None = None) -> RoostError:
    """The exception for a gateway's error message. An unknown code of a later version becomes BadInput."""
    wait_s = 1.0 if retry_after_s is None else retry_after_s
    if code == ErrorCode.BUSY:
        return Busy(message, wait_s)
    if code == ErrorCode.OVERLOADED:
        return Overloaded(message, wait_s)
    if code == ErrorCode.UNAVAILABLE:
        return Unavailable("the service", message, wait_s)
    known = code in ErrorCode._value2member_map_
    return BadInput(ErrorCode(code) if known else ErrorCode.INTERNAL, message if known else f"{message} ({code})")
