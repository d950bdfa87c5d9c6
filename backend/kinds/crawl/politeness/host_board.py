"""The board of a host: the one value in the shared cache that says how many of the host's slots each worker may use.
Pure.

A host has `whole` slots (eight, unless the operator says otherwise); a request in flight takes one. Each worker that
wants some has a claim on the board. Claims are in the order in which their workers came, and that order is a queue: a
worker that has had a slot while more workers than slots wait goes to its end (`host_lease.Lease`).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from roost.wire.codec import Unpacker
from roost.wire.errors import DecodeError


class HostPause(Struct, array_like=True, frozen=True):
    """A host asked for a pause until `until` (wall-clock seconds), by an answer with this `reason` and `status`."""

    until: float
    reason: str
    status: int


class Claim(Struct, array_like=True, frozen=True):
    """Worker `name` uses at most `held` slots and would use `wanted`. `stamp` changes with each renewal."""

    name: bytes
    stamp: int
    held: int
    wanted: int


class Board(Struct, array_like=True, frozen=True):
    """All claims on a host, and its pause if it has one."""

    claims: list[Claim] = []
    hold: HostPause | None = None


_unpack: Unpacker[Board] = Unpacker(Board, "board of a host")


def read_board(data: bytes | None) -> Board:
    """Decode the board; a missing or invalid value gives an empty board."""
    try:
        return _unpack(data) if data is not None else Board()
    except DecodeError:
        return Board()


def later(one: HostPause | None, other: HostPause | None) -> HostPause | None:
    """Return the pause that ends later."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda pause: pause.until)


def share_out(whole: int, wanted: Sequence[int]) -> list[int]:
    """Divide `whole` as evenly as possible, with no part larger than is wanted there; the first ones get the
    remainder.
    """
    parts, left = [0] * len(wanted), whole
    while left > 0:
        unsatisfied = [index for index, part in enumerate(parts) if part < wanted[index]]
        if not unsatisfied:
            break
        for index in unsatisfied[:left]:
            parts[index] += 1
        left -= len(unsatisfied)
    return parts
