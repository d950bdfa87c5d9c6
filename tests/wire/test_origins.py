"""Which pages may use a service."""

from __future__ import annotations

import pytest

from roost.wire.errors import Misuse
from roost.wire.origins import AllowedOrigins


def test_an_origin_is_admitted_as_browsers_write_it() -> None:
    origins = AllowedOrigins("HTTPS://Good.example:443, http://[::1]:8080, capacitor://localhost, null")
    for origin in ("https://good.example", "http://[::1]:8080", "capacitor://localhost", "null"):
        assert origins.admits(origin)
    for origin in ("http://good.example", "https://good.example:8443", "https://a.good.example", "", "https://evil"):
        assert not origins.admits(origin)
    assert not origins.is_any


@pytest.mark.parametrize("text", ["", "*", "https://a.example,*"])
def test_nothing_or_a_star_is_any(text: str) -> None:
    assert AllowedOrigins(text).is_any
    assert AllowedOrigins(text).admits("https://whatever.example")


@pytest.mark.parametrize(
    "text",
    [",", " ", "good.example", "https://good.example/", "https://*.good.example", "https://a https://b", "https://"],
)
def test_what_no_browser_would_send_is_refused(text: str) -> None:
    with pytest.raises(Misuse, match="allow_origins"):
        AllowedOrigins(text)
