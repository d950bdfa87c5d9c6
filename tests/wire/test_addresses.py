"""Where a client comes from."""

from __future__ import annotations

import pytest

from roost.wire.client_address import is_loopback, site_of


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_addresses_of_this_machine_are_known(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["128.0.0.1", "10.127.0.1", "::2", "", "2001:db8::1"])
def test_other_addresses_are_not_taken_for_this_machine(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("no address", "no address"),
        ("", ""),
    ],
)
def test_a_site_is_an_ipv4_address_or_an_ipv6_network(address: str, site: str) -> None:
    assert site_of(address) == site
