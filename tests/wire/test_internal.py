"""The shared secret of internal HTTP."""

from __future__ import annotations

import pytest

from roost.wire.auth import NO_SECRET, InternalSecret

SECRET = InternalSecret("pässword of this cluster")


def test_who_knows_the_secret_is_admitted() -> None:
    assert SECRET.admits(SECRET.headers())


@pytest.mark.parametrize(
    "given",
    ["", "Bearer ", "Bearer", SECRET.value, f"Bearer {SECRET.value} ", f"Basic {SECRET.value}", "Bearer p\udce4ssword"],
)
def test_anybody_else_is_not(given: str) -> None:
    assert not SECRET.admits({})
    assert not SECRET.admits({"Authorization": given})
    assert not SECRET.admits(InternalSecret("another").headers())


def test_without_a_secret_everybody_is_admitted() -> None:
    assert NO_SECRET.headers() == {}
    assert NO_SECRET.admits({})
    assert NO_SECRET.admits(SECRET.headers())


def test_the_secret_is_not_shown() -> None:
    assert SECRET.value not in repr(SECRET)
