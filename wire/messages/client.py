"""What client and gateway say to each other: JSON text over WebSocket subprotocol ``roost.v1``.

Every message is an object with a ``type``. Unknown fields are refused, so that a misspelt option is
not silently ignored.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from roost.wire.codec import JsonReader
from roost.wire.messages.outcome import Failure, Outcome

SUBPROTOCOL = "roost.v1"
MAX_IDS = 1000
"""Request ids in one message; a client has few live requests."""

RequestId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+\Z")]
"""Chosen by the client, unique for it: 1 to 64 visible ASCII characters."""


class ClientMessage(Struct, tag_field="type", forbid_unknown_fields=True, frozen=True):
    """Root of what a client may say."""


class Hello(ClientMessage, tag="hello", frozen=True):
    """First on every connection (P1). `epoch` grows with every connection of this client (P2)."""

    session: Annotated[str, Meta(max_length=1024)] | None = None
    epoch: Annotated[int, Meta(ge=0, lt=2**53)] = 0


class Submit(ClientMessage, tag="submit", frozen=True):
    """Ask for a job. `stream` wants progress and levels.

    `again` repeats a request that was `unknown`, or not answered before its connection broke. It may be stored already,
    so that it is not answered from the cache, past the store, where its outcome would wait to be acknowledged.
    """

    id: RequestId
    kind: Annotated[str, Meta(max_length=64)]
    spec: Raw
    stream: bool = False
    again: bool = False


class Resume(ClientMessage, tag="resume", frozen=True):
    """After a reconnect: these requests have not ended for me."""

    ids: Annotated[list[RequestId], Meta(max_length=MAX_IDS)]


class Ack(ClientMessage, tag="ack", frozen=True):
    """The result has arrived and is safe with the application."""

    id: RequestId


class Cancel(ClientMessage, tag="cancel", frozen=True):
    """Give the request up; what was found so far comes as a result with outcome `cancelled`."""

    id: RequestId


FromClient = Hello | Submit | Resume | Ack | Cancel


class GatewayMessage(Struct, tag_field="type", frozen=True, omit_defaults=True):
    """Root of what a gateway may say."""


class Limits(Struct, frozen=True):
    """What a client may do, told in `welcome`."""

    message_bytes: int
    live_requests: int
    retention_s: int


class Welcome(GatewayMessage, tag="welcome", frozen=True):
    """The connection's client id is fixed; `session` proves it next time."""

    session: str
    limits: Limits


class Accepted(GatewayMessage, tag="accepted", frozen=True):
    """The request is safe: its outcome will wait for this client (I1)."""

    id: str


class Progress(GatewayMessage, tag="progress", frozen=True):
    """`done` of `known` pieces of work in `level`; may be dropped."""

    id: str
    level: int
    done: int
    known: int


class Level(GatewayMessage, tag="level", frozen=True):
    """Piece `seq` of what level `level` brought, a JSON array; may be dropped, the result has everything."""

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
    """Last word on a request, after its `parts` parts; to be answered with `ack`."""

    id: str
    outcome: Outcome
    parts: int
    summary: Raw | UnsetType = UNSET
    failure: Failure | None = None


class Unknown(GatewayMessage, tag="unknown", frozen=True):
    """No trace of this request: submit it again, the same, with `again` (P12)."""

    id: str


class Expired(GatewayMessage, tag="expired", frozen=True):
    """The result was kept for the retention time and is gone (P28)."""

    id: str


class Error(GatewayMessage, tag="error", frozen=True):
    """What was asked cannot be; `id` names the request it is about, where there is one."""

    code: str
    message: str
    id: str | None = None
    retry_after_s: float | None = None


class Move(GatewayMessage, tag="move", frozen=True):
    """Connect to `url` with `ticket` in `after_ms`, resume there, then leave here (P29)."""

    url: str
    ticket: str
    after_ms: int


FromGateway = Welcome | Accepted | Progress | Level | Part | Result | Unknown | Expired | Error | Move

read_from_client: JsonReader[FromClient] = JsonReader(FromClient, "message")
read_from_gateway: JsonReader[FromGateway] = JsonReader(FromGateway, "message")
