"""Where a host setting listens, judged by the addresses behind it."""

from __future__ import annotations

import pytest

from roost.wire.bind_addresses import first_place, is_everywhere, is_loopback_only, nearest_place
from roost.wire.listener import bind

LOOPBACK = [
    "127.0.0.1", "127.9.9.9", "127.1", "0x7f.1", "2130706433", "localhost", "::1", "0:0:0:0:0:0:0:1", "127.0.0.1,::1",
    " 127.0.0.1 , localhost", "::ffff:127.0.0.1", "::ffff:7f00:1",
]  # fmt: skip
EVERYWHERE = ["0.0.0.0", "0", "::", "", "127.0.0.1,", "127.0.0.1,0.0.0.0", "0.0.0.0,::", "::ffff:0.0.0.0"]
ELSEWHERE = ["192.0.2.1", "fe80::1", "::ffff:192.0.2.1", "127.0.0.1,192.0.2.1"]
NOWHERE = ["no.such.host.invalid", "127.0.0.1.no.such.host.invalid", "[::1]", "a" * 70]


@pytest.mark.parametrize("hosts", LOOPBACK)
def test_only_this_machine_reaches_loopback_however_it_is_written(hosts: str) -> None:
    assert is_loopback_only(hosts)


@pytest.mark.parametrize("hosts", EVERYWHERE + ELSEWHERE + NOWHERE)
def test_all_else_is_reachable_by_others_and_so_is_what_cannot_be_judged(hosts: str) -> None:
    assert not is_loopback_only(hosts)


@pytest.mark.parametrize("hosts", LOOPBACK + EVERYWHERE + ELSEWHERE + NOWHERE)
def test_every_address_is_none_to_tell_others(hosts: str) -> None:
    assert is_everywhere(hosts) == (hosts in EVERYWHERE and hosts != "::ffff:0.0.0.0")


@pytest.mark.parametrize("hosts", ["127.0.0.1", "0", "", "127.1"])
def test_what_is_judged_is_what_is_bound(hosts: str) -> None:
    sockets = bind(hosts, 0, 1)
    try:
        is_bound_to_loopback = all(each.getsockname()[0] == "127.0.0.1" for each in sockets)
    finally:
        for each in sockets:
            each.close()
    assert is_loopback_only(hosts) == is_bound_to_loopback


def test_the_place_that_others_are_told_is_the_first_host_as_it_was_written() -> None:
    assert first_place("gw1.example, ::1", 9001) == "gw1.example:9001"
    assert first_place("::1,127.0.0.1", 9001) == "[::1]:9001"
    assert nearest_place("0.0.0.0,::", 8000) == nearest_place("", 8000) == "127.0.0.1:8000"
    assert nearest_place("::", 8000) == "[::1]:8000"
