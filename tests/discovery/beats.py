"""Beats for tests: a gateway's unless told otherwise."""

from __future__ import annotations

from typing import Any

from roost.wire.messages.registry import Beat, ComponentKind


def make_beat(name: str = "g1", sequence: int = 1, load: int = 0, capacity: int = 100, **more: Any) -> Beat:
    more.setdefault("kind", ComponentKind.GATEWAY)
    more.setdefault("address", f"ws://{name}:9001")
    return Beat(incarnation=name, sequence=sequence, load=load, capacity=capacity, **more)
