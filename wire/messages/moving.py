"""Messages for moving clients between gateways.

Gateways reserve endpoints and receive discovery's directives in msgpack; operators send their orders in JSON.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from roost.wire.codec import JsonReader, Unpacker

MAX_ENDPOINTS = 256
"""Most endpoints in one request: signing that many tickets takes discovery a few milliseconds."""


class ReserveEndpoints(Struct, array_like=True, frozen=True):
    """POST /v1/places: the gateway with this incarnation reserves capacity at others for `count` of its clients.

    A gateway that is leaving gets endpoints at any gateway with free capacity; otherwise only at gateways that have
    fewer clients than their share.
    """

    gateway: Annotated[str, Meta(min_length=1, max_length=64)]
    count: Annotated[int, Meta(ge=1, le=MAX_ENDPOINTS)]
    is_leaving: bool = True


class Endpoint(Struct, array_like=True, frozen=True):
    """A gateway's address, and a ticket with which one client can connect to it."""

    url: str
    ticket: str


class Endpoints(Struct, array_like=True, frozen=True):
    """The endpoints that were reserved, which may be fewer than asked for; each is held for `expires_s` seconds."""

    places: list[Endpoint]
    expires_s: int


class GatewayDirectives(Struct, array_like=True, frozen=True):
    """What discovery asks of a gateway, in the answer to its heartbeat; it applies until the next answer.

    `leave` is an operator's order: True means move all clients away within `window_s` seconds, False means accept
    clients again, None means neither. `give_away` clients should move to gateways that have fewer than their share,
    at most `per_s` a second.
    """

    leave: bool | None = None
    window_s: float = 0.0
    give_away: int = 0
    per_s: float = 0.0


class DrainOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/drain, JSON: the gateway with this address or incarnation has to move its clients to others.

    It does so over `window_s` seconds. With `undo` it accepts clients again. The last gateway that accepts clients is
    only drained with `force`, because its clients would have nowhere to go.
    """

    gateway: Annotated[str, Meta(min_length=1, max_length=512)]
    window_s: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    undo: bool = False
    force: bool = False


read_reserve_endpoints: Unpacker[ReserveEndpoints] = Unpacker(ReserveEndpoints, "request for endpoints")
read_endpoints: Unpacker[Endpoints] = Unpacker(Endpoints, "answer with endpoints")
read_drain_order: JsonReader[DrainOrder] = JsonReader(DrainOrder, "order to drain")
