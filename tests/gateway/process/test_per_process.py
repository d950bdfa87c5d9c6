"""Settings of each of several gateway processes."""

from __future__ import annotations

from roost.gateway.process.per_process import port_of, public_url_of, settings_of
from roost.gateway.settings import Settings


def test_ports_and_public_urls_are_counted_up_alike() -> None:
    settings = Settings(port=9001)
    assert [settings_of(settings, index).port for index in range(3)] == [9001, 9002, 9003]
    urls = [public_url_of("wss://gw.example:443/path", settings, index) for index in range(3)]
    assert urls == ["wss://gw.example:443/path", "wss://gw.example:444/path", "wss://gw.example:445/path"]
    assert public_url_of("ws://[2001:db8::1]:9001", settings, 1) == "ws://[2001:db8::1]:9002"
    assert public_url_of("", settings, 2) == ""


def test_a_free_port_is_picked_by_each_and_a_shared_one_is_everybodys() -> None:
    assert port_of(0, 3) == 0
    shared = Settings(port=9001, shared_port=True)
    assert settings_of(shared, 2).port == 9001
    assert public_url_of("ws://gw.example:9001", shared, 2) == "ws://gw.example:9001"
