"""What a part may say of where it is."""

from __future__ import annotations

import pytest

from roost.wire.errors import Misuse
from roost.wire.public_url import checked_public_url


@pytest.mark.parametrize("url", ["", "ws://h:1", "wss://gw.example", "ws://[::1]:9001", "wss://h/path"])
def test_a_url_that_clients_can_connect_to_is_taken(url: str) -> None:
    assert checked_public_url(url, "ws", "wss") == url


@pytest.mark.parametrize(
    "url",
    [
        "foo",
        "h:9001",
        "http://h",
        "ws://",
        "ws://h:x",
        "ws://h:99999",
        "ws://h:0",
        "ws://h h",
        "ws://h?a",
        "ws://ü",
        "WS://h",
        "ws://h/" + "a" * 600,
    ],
)
def test_any_other_is_refused_with_how_to_write_it(url: str) -> None:
    with pytest.raises(Misuse, match="write --public-url as ws://HOST:PORT"):
        checked_public_url(url, "ws", "wss")
