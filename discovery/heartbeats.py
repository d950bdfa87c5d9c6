"""Validation of heartbeats. They are checked once, on arrival, so that the table only holds valid values."""

from __future__ import annotations

from roost.discovery.core.labels import are_labels
from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError
from roost.wire.messages.registry import Beat, ComponentKind, read_beat

MAX_REDEEMED = 50_000
"""Most serials in one heartbeat: more than a gateway has descriptors. Tickets that are not reported expire anyway."""

MAX_BEAT_BYTES = 1024 * 1024
"""Enough for `MAX_REDEEMED` serials of 14 bytes and the rest of the message."""

MAX_NAME_CHARS = 64
MAX_ADDRESS_CHARS = 512
MAX_COUNT = 2**40
MAX_COUNTERS = 100
MAX_SERIAL_BYTES = 32
MAX_REPLICAS = 1000


def read_checked_beat(body: bytes) -> Beat:
    """The heartbeat in `body`. Raises DecodeError with a sentence that names the invalid field."""
    beat = read_beat(body)
    for name, is_fine in (
        ("incarnation", 0 < len(beat.incarnation) <= MAX_NAME_CHARS and _is_plain(beat.incarnation)),
        ("sequence", 0 < beat.sequence < MAX_COUNT),
        ("address", len(beat.address) <= MAX_ADDRESS_CHARS and _is_plain(beat.address) and _fits_kind(beat)),
        ("capacity", 0 <= beat.capacity < MAX_COUNT),
        ("load", 0 <= beat.load < MAX_COUNT),
        ("moving", 0 <= beat.moving < MAX_COUNT),
        ("version", len(beat.version) <= MAX_NAME_CHARS),
        (
            "redeemed",
            len(beat.redeemed) <= MAX_REDEEMED and all(0 < len(serial) <= MAX_SERIAL_BYTES for serial in beat.redeemed),
        ),
        ("labels", are_labels(beat.labels)),
        ("replicas", 0 < beat.replicas <= MAX_REPLICAS),
        ("counters", len(beat.counters) <= MAX_COUNTERS and all(len(n) <= MAX_NAME_CHARS for n in beat.counters)),
    ):
        if not is_fine:
            raise DecodeError(ErrorCode.BAD_MESSAGE, f"not a valid beat: {name} is out of bounds")
    return beat


def _is_plain(text: str) -> bool:
    return text.isascii() and not any(c <= " " or c == "\x7f" for c in text)


def _fits_kind(beat: Beat) -> bool:
    """Whether the address suits the kind: clients connect to a gateway's address unchanged, so it must be ws or wss."""
    return beat.kind is not ComponentKind.GATEWAY or beat.address.startswith(("ws://", "wss://"))
