"""URLs of clusters."""

from __future__ import annotations

import pytest

from roost.backend.host_lists import each_host, names_hosts


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("amqp://host", ["amqp://host"]),
        ("amqp://a,b", ["amqp://a", "amqp://b"]),
        (
            "amqp://u:p@a:1,b:2,[::1]:3/v?heartbeat=5",
            [f"amqp://u:p@{h}/v?heartbeat=5" for h in ("a:1", "b:2", "[::1]:3")],
        ),
        ("amqp://u:p,q@r@a,b/", ["amqp://u:p,q@r@a/", "amqp://u:p,q@r@b/"]),
        ("redis+sentinel://a,b/x,y/0?z=1,2", ["redis+sentinel://a/x,y/0?z=1,2", "redis+sentinel://b/x,y/0?z=1,2"]),
        ("amqp://a,", ["amqp://a", "amqp://"]),
        ("memory:", ["memory:"]),
        ("", [""]),
    ],
)
def test_a_url_is_read_once_for_each_of_its_hosts(url: str, hosts: list[str]) -> None:
    assert each_host(url) == hosts


@pytest.mark.parametrize("hosts", ["", ",", "a,", ",a", "a,,b", "a:0,b", "a,b:x", "a,b:70000", "a,[::1"])
def test_one_host_that_is_none_spoils_the_url(hosts: str) -> None:
    assert not names_hosts(f"amqp://user:password@{hosts}/vhost", ("amqp",))
