"""Where listening sockets are bound."""

from __future__ import annotations

import socket

import pytest

from roost.wire.listener import bind


def addresses(host: str, port: int = 0) -> list[tuple[str, int]]:
    sockets = bind(host, port, 8)
    try:
        return [listening.getsockname()[:2] for listening in sockets]
    finally:
        for listening in sockets:
            listening.close()


def test_several_hosts_share_a_port_and_nothing_is_every_address() -> None:
    (first, port), (second, same) = addresses("127.0.0.1, 127.0.0.2")
    assert (first, second, same) == ("127.0.0.1", "127.0.0.2", port)
    everywhere = addresses("")
    assert "0.0.0.0" in [host for host, _ in everywhere]
    assert len({port for _, port in everywhere}) == 1


@pytest.mark.parametrize("host", ["nowhere.invalid", "127.0.0.1,203.0.113.9"])
def test_what_cannot_be_bound_is_said_and_nothing_stays_open(host: str) -> None:
    with pytest.raises(OSError, match=f"cannot listen on {host}:0"):
        bind(host, 0, 8)


@pytest.mark.parametrize("quiet", [False, True])
def test_only_who_asks_for_it_has_acknowledgements_wait(quiet: bool) -> None:
    (listening,) = bind("127.0.0.1", 0, 8, quiet_acks=quiet)
    with listening, socket.create_connection(listening.getsockname()) as client:
        accepted = listening.accept()[0]
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == (not quiet)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.recv(1) == b""
