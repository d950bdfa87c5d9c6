"""What components and clients say to discovery: msgpack beats, and JSON for the client's question."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from roost.wire.codec import JsonReader, Unpacker
from roost.wire.messages.moving import GatewayDirectives


class ComponentKind(StrEnum):
    """The parts that register with discovery."""

    DISCOVERY = "discovery"
    GATEWAY = "gateway"
    LOCK = "lock"
    MASTER = "master"
    WORKER = "worker"


class Beat(Struct, array_like=True, frozen=True):
    """A component's sign of life, one snapshot (P31). POST /v1/beat.

    `incarnation` is new with every start; `sequence` grows with every beat of it. `load` and
    `capacity` are connections for a gateway, running jobs or tasks elsewhere. `redeemed` lists
    the serials of tickets redeemed since the last acknowledged beat. `labels` say where it runs or whom it is for,
    `replicas` to how many replicas of discovery it beats. `moving` of a gateway's load have been told to go elsewhere.
    """

    kind: ComponentKind
    incarnation: str
    sequence: int
    address: str
    capacity: int
    load: int
    lag_ms: float = 0.0
    version: str = ""
    draining: bool = False
    redeemed: list[bytes] = []
    counters: dict[str, float] = {}
    labels: dict[str, str] = {}
    replicas: int = 1
    moving: int = 0


class BeatAnswer(Struct, array_like=True, frozen=True):
    """The beat counts; `interval_s` until the next; `locks` are the addresses of live lock servers.

    A gateway may be asked to act (`directions`).
    A worker is told of all live `workers` too, by incarnation: they share what holds across all of them (P32).
    """

    sequence: int
    interval_s: float
    locks: list[str]
    directions: GatewayDirectives = GatewayDirectives()
    workers: list[str] = []


class Choice(Struct, frozen=True):
    """A gateway's address and the ticket that opens it."""

    url: str
    ticket: str


class Assignment(Struct, frozen=True):
    """GET /v1/gateway, JSON: where to connect, for `expires_s` seconds, and where else if that fails."""

    url: str
    ticket: str
    expires_s: int
    alternates: list[Choice] = []


read_beat: Unpacker[Beat] = Unpacker(Beat, "beat")
read_beat_answer: Unpacker[BeatAnswer] = Unpacker(BeatAnswer, "beat answer")
read_assignment: JsonReader[Assignment] = JsonReader(Assignment, "assignment")
