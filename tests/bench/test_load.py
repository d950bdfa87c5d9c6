"""The load against a real gateway: what it counts is what was sent."""

from __future__ import annotations

import socket
import struct
import sys
import time

import pytest

from bench.compare import servers
from bench.support import gateways, processes
from bench.support.clients import idle_processes
from bench.support.clients.client_bytes import CLOSE_KIND, PING_KIND, TEXT_KIND, address, frames
from bench.support.processes import Cpu
from roost.gateway.websocket.frames import close_bytes, encode, ping_bytes

pytestmark = pytest.mark.slow


def test_every_client_of_a_crowd_has_an_address_of_its_own() -> None:
    numbers = [*range(70_000), *range(idle_processes.WARM_UP_FIRST, idle_processes.WARM_UP_FIRST + 1000)]
    assert len({address(number) for number in numbers}) == len(numbers)
    assert address(0) == "127.1.0.0"


def test_frames_that_share_a_read_are_told_apart() -> None:
    data = encode("short") + ping_bytes() + encode("x" * 200) + ping_bytes(b"with a payload") + close_bytes(1000)
    found = list(frames(data))
    assert [kind for kind, _ in found] == [TEXT_KIND, PING_KIND, TEXT_KIND, PING_KIND, CLOSE_KIND]
    assert [payload for _, payload in found] == [b"short", b"", b"x" * 200, b"with a payload", b"\x03\xe8"]
    assert list(frames(b"")) == []


def test_a_crowd_opens_hears_pings_and_leaves_without_losing_anybody() -> None:
    with (
        gateways.gateway(gateways.ECHO, "--ping-after-s", "0.2") as gateway,
        idle_processes.idle_processes(gateway.port, 300) as throng,
    ):
        throng.open()
        assert gateway.metrics()["open_connections"] == 300
        while throng.stats()["pings"] < 300:
            pass
        assert throng.stats()["lost"] == 0
        throng.close()
        assert gateway.metrics()["open_connections"] == 0


def test_clients_that_say_hello_are_open_when_they_are_welcome() -> None:
    with gateways.job_gateway() as gateway, idle_processes.one(gateway.port, 0, hello=True) as crowd:
        crowd.open(50)
        assert gateway.metrics()["messages_out_total"] == 50
        crowd.close()


def test_a_crowd_over_tls_does_all_that_a_plain_one_does() -> None:
    with servers.running(servers.OUR_TLS) as server, idle_processes.one(server.port, 0, tls=True) as crowd:
        assert server.gateway is not None
        crowd.open(120)
        assert server.gateway.metrics()["open_connections"] == 120
        crowd.close()
        crowd.churn(150)
        metrics = server.gateway.metrics()
        assert (metrics["opened_total"], metrics["open_connections"]) == (270, 0)
        stats = crowd.stats()  # a first ping comes at the connection's phase, so that any number came meanwhile
        assert (stats["held"], stats["lost"]) == (0, 0)


def test_a_second_crowd_comes_from_addresses_that_the_first_did_not_use() -> None:
    assert idle_processes.PROCESS_ADDRESSES >= 2 * idle_processes.CROWD_COUNT
    assert idle_processes.ADDRESSES_EACH * len((*servers.ALL_OURS, *servers.PEERS)) <= idle_processes.WARM_UP_FIRST


def test_how_each_client_was_sent_away_is_counted() -> None:
    with (
        gateways.gateway(gateways.ECHO, "--drain-s", "0.5") as gateway,
        idle_processes.idle_processes(gateway.port, 150) as throng,
    ):
        throng.open()
        since_s = time.monotonic()
        gateway.process.terminate()
        gateway.process.wait(timeout=30)
        while throng.stats()["held"]:
            pass
        farewells = throng.farewells()
        assert farewells.codes == {1012: 150}
        assert (farewells.resets, farewells.silent) == (0, 0)
        assert len(farewells.times_s) == 150
        assert since_s < min(farewells.times_s) <= max(farewells.times_s) < time.monotonic()


def test_clients_of_a_gateway_that_is_killed_hear_no_farewell() -> None:
    with gateways.gateway() as gateway, idle_processes.idle_processes(gateway.port, 50) as throng:
        throng.open()
        gateway.process.kill()
        gateway.process.wait(timeout=30)
        while throng.stats()["held"]:
            pass
        farewells = throng.farewells()
        assert (farewells.codes, farewells.silent) == ({}, 50)


def test_a_connection_that_the_server_resets_is_counted_as_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, idle_processes.one(listener.getsockname()[1], 0) as crowd:
        processes.order(crowd.process, "open 1")
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            assert processes.said(crowd.process).startswith("opened 1 ")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while crowd.stats()["held"]:
            pass
        farewells = crowd.farewells()
        assert (farewells.resets, farewells.silent, farewells.codes) == (1, 1, {})


def test_a_churn_opens_and_closes_as_many_as_it_says() -> None:
    with gateways.gateway() as gateway, idle_processes.one(gateway.port, 0) as crowd:
        crowd.churn(250)
        metrics = gateway.metrics()
        assert (metrics["opened_total"], metrics["open_connections"]) == (250, 0)
        assert crowd.stats()["lost"] == 0


def test_the_load_counts_each_message_that_came_back() -> None:
    with gateways.gateway() as gateway:
        command = [sys.executable, "-m", "bench.support.clients.echo_load", str(gateway.port), "10", "32"]
        with processes.running(command) as load:
            assert processes.said(load) == "ready"
            counts = [int(processes.tell(load, "run 0.2").split()[0]) for _ in range(2)]
            echoed = gateway.metrics()["messages_in_total"]
        in_flight_at_the_end = 10
        assert min(counts) > 0
        assert 0 <= echoed - sum(counts) <= 2 * in_flight_at_the_end


def test_a_server_that_does_not_exist_is_refused_before_anything_runs() -> None:
    with pytest.raises(SystemExit, match="no such server: nobody"):
        servers.what_is_missing(["roost", "nobody"])


def test_shares_of_processor_time_are_scaled_to_the_exact_total() -> None:
    spent = Cpu(10.05, 6.0, 4.0).since(Cpu(9.0, 5.75, 3.25))
    assert (spent.total_s, spent.user_s, spent.kernel_s) == pytest.approx((1.05, 0.2625, 0.7875))
    assert Cpu(1.0, 1.0, 0.0).since(Cpu(1.0, 1.0, 0.0)) == Cpu(0.0, 0.0, 0.0)
