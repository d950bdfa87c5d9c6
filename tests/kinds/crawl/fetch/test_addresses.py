"""No range that is not public is ever dialled unless the operator says so."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from roost.backend.kinds.crawl.fetch.public_addresses import (
    REFUSED,
    Network,
    parse_networks,
    refusal,
)
from roost.wire.errors import BadInput


@pytest.mark.parametrize("network", [network for network, _ in REFUSED], ids=str)
def test_a_special_range_is_refused_from_end_to_end(network: Network) -> None:
    assert refusal(str(network[0]))
    assert refusal(str(network[-1]))
    if network.version == 4:
        assert refusal(f"::ffff:{network[0]}")


@pytest.mark.parametrize(
    "address",
    [
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:0:127.0.0.1",
        "::ffff:0:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "192.0.0.8",
        "255.255.255.255",
        "169.254.169.254",
        "168.63.129.16",
    ],
)
def test_a_special_address_is_refused(address: str) -> None:
    assert refusal(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "223.255.255.255",
        "168.63.129.15",
        "::ffff:1.1.1.1",
        "2001:200::1",
        "2606:4700::1111",
        "3ffe:ffff::1",
        "2a00::1",
    ],
)
def test_a_public_address_may_be_dialled(address: str) -> None:
    assert refusal(address) is None


def test_an_allowed_range_is_dialled_and_nothing_beside_it() -> None:
    allowed = parse_networks(["127.0.0.0/8", "fd00::/8", "10.1.2.3"])
    assert allowed == (ip_network("127.0.0.0/8"), ip_network("fd00::/8"), ip_network("10.1.2.3/32"))
    for address in ("127.0.0.1", "::ffff:127.9.9.9", "fd00::1", "10.1.2.3"):
        assert refusal(address, allowed) is None
    for address in ("10.1.2.4", "::1", "fe80::1", "192.168.0.1"):
        assert refusal(address, allowed)


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8,127.0.0.0/8", "\0"])
def test_a_range_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match=r"10\.0\.0\.0/8"):
        parse_networks([text])
