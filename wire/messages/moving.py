"""How clients are moved between gateways: places at others, and what discovery asks of a gateway. msgpack."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from roost.wire.codec import JsonReader, Unpacker

MAX_ENDPOINTS = 256
"""Places in one request: signing so many tickets takes discovery a few milliseconds."""


class ReserveEndpoints(Struct, array_like=True, frozen=True):
    """POST /v1/places: the gateway of this incarnation wants places for `count` of its clients elsewhere.

    A leaving gateway gets them wherever there is room; otherwise only where others have less than their share.
    """

    gateway: Annotated[str, Meta(min_length=1, max_length=64)]
    count: Annotated[int, Meta(ge=1, le=MAX_ENDPOINTS)]
    is_leaving: bool = True


class Endpoint(Struct, array_like=True, frozen=True):
    """A gateway's address, and a ticket of one client's own that opens it."""

    url: str
    ticket: str


class Endpoints(Struct, array_like=True, frozen=True):
    """Those that there are, which may be fewer; each is kept free for `expires_s`."""

    places: list[Endpoint]
    expires_s: int


class GatewayDirectives(Struct, array_like=True, frozen=True):
    """What discovery asks of a gateway, in the answer to its beat; it holds until the next.

    `leave` is an operator's order: send everybody away within `window_s`, or take clients again; None is neither.
    `give_away` clients should go to gateways that have less than their share, at most `per_s` a second.
    """

    leave: bool | None = None
    window_s: float = 0.0
    give_away: int = 0
    per_s: float = 0.0


class DrainOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/drain, JSON: the gateway of this address or incarnation shall send its clients to others.

    They have `window_s` for that. With `undo` it takes clients again. The last gateway that takes clients sends its own
    away only with `force`: they would have nowhere to go.
    """

    gateway: Annotated[str, Meta(min_length=1, max_length=512)]
    window_s: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    undo: bool = False
    force: bool = False


read_reserve_endpoints: Unpacker[ReserveEndpoints] = Unpacker(ReserveEndpoints, "request for places")
read_endpoints: Unpacker[Endpoints] = Unpacker(Endpoints, "answer with places")
read_drain_order: JsonReader[DrainOrder] = JsonReader(DrainOrder, "order to drain")
