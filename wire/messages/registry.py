"""Messages between discovery and its callers: heartbeats of components in msgpack, answers to clients in JSON."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from roost.wire.codec import JsonReader, Unpacker
from roost.wire.messages.moving import GatewayDirectives


class ComponentKind(StrEnum):
    """The kinds of component that register with discovery."""

    DISCOVERY = "discovery"
    GATEWAY = "gateway"
    LOCK = "lock"
    MASTER = "master"
    WORKER = "worker"


class Beat(Struct, array_like=True, frozen=True):
    """A component's heartbeat, one snapshot (P31). POST /v1/beat.

    `incarnation` is the instance id, new with every start; `sequence` grows with every heartbeat of the instance.
    `load` and `capacity` count connections for a gateway, running jobs or tasks for other components. `redeemed` lists
    the serials of tickets redeemed since the last acknowledged heartbeat. `labels` say where it runs or which clients
    it is for. `replicas` is the number of discovery replicas it reports to. `moving` is how many connections of a
    gateway's load have been told to move to another gateway.
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
    """The heartbeat was received. `interval_s` is the time until the next, `locks` the addresses of live lock servers.

    `directions` may ask a gateway to act. A worker also gets the incarnations of all live `workers`, because some
    limits apply across all of them (P32).
    """

    sequence: int
    interval_s: float
    locks: list[str]
    directions: GatewayDirectives = GatewayDirectives()
    workers: list[str] = []


class Choice(Struct, frozen=True):
    """A gateway's address, and a ticket with which a client can connect to it."""

    url: str
    ticket: str


class Assignment(Struct, frozen=True):
    """GET /v1/gateway, JSON: where to connect, valid for `expires_s` seconds, and alternates in case that fails."""

    url: str
    ticket: str
    expires_s: int
    alternates: list[Choice] = []


read_beat: Unpacker[Beat] = Unpacker(Beat, "beat")
read_beat_answer: Unpacker[BeatAnswer] = Unpacker(BeatAnswer, "beat answer")
read_assignment: JsonReader[Assignment] = JsonReader(Assignment, "assignment")
