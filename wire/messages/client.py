"""Messages between client and gateway: JSON text over WebSocket subprotocol ``roost.v1``.

Every message is an object with a ``type``. A client's message with an unknown field is refused, so that a misspelt
option is not silently ignored.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from roost.wire.codec import JsonReader
from roost.wire.messages.outcome import Failure, Outcome

SUBPROTOCOL = "roost.v1"
MAX_IDS = 1000
"""Most request ids in one message; a client has few live requests."""

RequestId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+\Z")]
"""Chosen by the client, unique for it: 1 to 64 visible ASCII characters."""


class ClientMessage(Struct, tag_field="type", forbid_unknown_fields=True, frozen=True):
    """Base class of messages that a client sends."""


class Hello(ClientMessage, tag="hello", frozen=True):
    """The first message on every connection (P1). `epoch` grows with every connection of this client (P2)."""

    session: Annotated[str, Meta(max_length=1024)] | None = None
    epoch: Annotated[int, Meta(ge=0, lt=2**53)] = 0


class Submit(ClientMessage, tag="submit", frozen=True):
    """Ask for a job. With `stream` the gateway also sends progress and levels.

    `again` marks the repetition of a request that was `unknown`, or that was not answered before its connection broke.
    The store may have that request already, and its outcome would wait there for an acknowledgement; therefore it is
    never answered from the cache, which bypasses the store.
    """

    id: RequestId
    kind: Annotated[str, Meta(max_length=64)]
    spec: Raw
    stream: bool = False
    again: bool = False


class Resume(ClientMessage, tag="resume", frozen=True):
    """Sent after a reconnect: the requests that have not ended for this client."""

    ids: Annotated[list[RequestId], Meta(max_length=MAX_IDS)]


class Ack(ClientMessage, tag="ack", frozen=True):
    """The application has received the result, so the system may delete it."""

    id: RequestId


class Cancel(ClientMessage, tag="cancel", frozen=True):
    """Cancel the request. What was found so far comes as a result with outcome `cancelled`."""

    id: RequestId


FromClient = Hello | Submit | Resume | Ack | Cancel


class GatewayMessage(Struct, tag_field="type", frozen=True, omit_defaults=True):
    """Base class of messages that a gateway sends."""


class Limits(Struct, frozen=True):
    """Limits for the client, part of `welcome`."""

    message_bytes: int
    live_requests: int
    retention_s: int


class Welcome(GatewayMessage, tag="welcome", frozen=True):
    """The client is identified; on its next connection `session` proves its identity."""

    session: str
    limits: Limits


class Accepted(GatewayMessage, tag="accepted", frozen=True):
    """The request is stored durably: its outcome will be kept for this client (I1)."""

    id: str


class Progress(GatewayMessage, tag="progress", frozen=True):
    """`done` of `known` pieces of work in `level` are finished. The message may be dropped."""

    id: str
    level: int
    done: int
    known: int


class Level(GatewayMessage, tag="level", frozen=True):
    """Piece `seq` of what level `level` found, a JSON array. It may be dropped, because the result has everything."""

    id: str
    level: int
    seq: int
    items: Raw


class Part(GatewayMessage, tag="part", frozen=True):
    """Piece `seq` of a result, a JSON value whose meaning the kind defines."""

    id: str
    seq: int
    data: Raw


class Result(GatewayMessage, tag="result", frozen=True):
    """How a request ended. It follows all `parts` parts of the result; the client answers it with `ack`."""

    id: str
    outcome: Outcome
    parts: int
    summary: Raw | UnsetType = UNSET
    failure: Failure | None = None


class Unknown(GatewayMessage, tag="unknown", frozen=True):
    """The system does not know this request: submit the same request again, with `again` (P12)."""

    id: str


class Expired(GatewayMessage, tag="expired", frozen=True):
    """The retention time of the result is over, and it was deleted (P28)."""

    id: str


class Error(GatewayMessage, tag="error", frozen=True):
    """A message of the client was refused; `id` is the request that it was about, if there is one."""

    code: str
    message: str
    id: str | None = None
    retry_after_s: float | None = None


class Move(GatewayMessage, tag="move", frozen=True):
    """Connect to `url` with `ticket` after `after_ms`, resume there, then close this connection (P29)."""

    url: str
    ticket: str
    after_ms: int


FromGateway = Welcome | Accepted | Progress | Level | Part | Result | Unknown | Expired | Error | Move

read_from_client: JsonReader[FromClient] = JsonReader(FromClient, "message")
read_from_gateway: JsonReader[FromGateway] = JsonReader(FromGateway, "message")
