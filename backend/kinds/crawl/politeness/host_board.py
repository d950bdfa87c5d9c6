"""The board of a host: the one value in the shared cache that says which worker may use how many of its places. Pure.

A host has `whole` places (eight, unless the operator says otherwise); a request in flight takes one. Each worker that
wants some has a claim on the board. Claims are in the order in which their workers came, and that order is a queue:
whoever has had a place while more workers than places wait goes to its end (`lease.Lease`).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from roost.wire.codec import Unpacker
from roost.wire.errors import DecodeError


class HostPause(Struct, array_like=True, frozen=True):
    """A host wants to be left alone until `until` (wall seconds); it said so by `reason` and `status`."""

    until: float
    reason: str
    status: int


class Claim(Struct, array_like=True, frozen=True):
    """Worker `name` uses at most `held` places and would use `wanted`. `stamp` is another one in each renewal."""

    name: bytes
    stamp: int
    held: int
    wanted: int


class Board(Struct, array_like=True, frozen=True):
    """All claims on a host, and its hold if it has one."""

    claims: list[Claim] = []
    hold: HostPause | None = None


_unpack: Unpacker[Board] = Unpacker(Board, "board of a host")


def read_board(data: bytes | None) -> Board:
    """The board; an empty one for nothing, and for what is none."""
    try:
        return _unpack(data) if data is not None else Board()
    except DecodeError:
        return Board()


def later(one: HostPause | None, other: HostPause | None) -> HostPause | None:
    """Whichever of two holds lasts longer."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda hold: hold.until)


def share_out(whole: int, wanted: Sequence[int]) -> list[int]:
    """Parts of `whole` as equal as possible, none larger than what is wanted there; the first ones get the rest."""
    parts, left = [0] * len(wanted), whole
    while left > 0:
        hungry = [place for place, part in enumerate(parts) if part < wanted[place]]
        if not hungry:
            break
        for place in hungry[:left]:
            parts[place] += 1
        left -= len(hungry)
    return parts
