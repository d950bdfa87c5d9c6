"""Servers of tests get ports that no outgoing connection can take, and others when another server has theirs."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from bench.support import ports, services
from bench.support.ports import (
    FIRST,
    IN_USE,
    LAST,
    LOOPBACK,
    STARTS,
    PortTaken,
    elsewhere_if_taken,
    ephemeral_range,
    free_port,
    outside,
)

pytestmark = pytest.mark.engines

OUTGOING = 200


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which another server listens."""
    with closing(socket.create_server((LOOPBACK, free_port()))) as other:
        yield other.getsockname()[1]


def test_the_kernel_gives_no_outgoing_connection_such_a_port() -> None:
    ephemeral = ephemeral_range()
    assert not {free_port() for _ in range(20)} & {*ephemeral}
    with socket.create_server((LOOPBACK, free_port()), backlog=OUTGOING) as server:
        outgoing = [socket.create_connection(server.getsockname()) for _ in range(OUTGOING)]
        assert {one.getsockname()[1] for one in outgoing} <= {*ephemeral}
        for one in outgoing:
            one.close()


def test_no_port_is_given_twice_and_none_that_is_taken(taken: int) -> None:
    given = [free_port() for _ in range(100)]
    assert len({*given}) == len(given)
    assert taken not in given


def test_ports_lie_on_both_sides_of_the_ephemeral_range() -> None:
    assert outside(range(32768, 61000)) == [*range(FIRST, 32768), *range(61000, LAST + 1)]
    assert outside(range(1024, LAST + 1)) == []


def test_where_the_ephemeral_range_is_everything_the_kernel_picks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ephemeral_range", lambda: range(1024, LAST + 1))
    with closing(socket.create_server((LOOPBACK, free_port()))) as server:
        assert server.getsockname()[1] in ephemeral_range()


def test_a_service_that_lost_its_port_is_started_anew_on_another(taken: int) -> None:
    services.need(shutil.which("redis-server") is not None, "redis-server")
    made: list[services.Redis] = []

    def unlucky() -> services.Redis:
        redis = services.Redis()
        if not made:
            redis.port = taken
        made.append(redis)
        return redis

    serving = services.started(unlucky)
    try:
        assert len(made) == 2
        assert (made[0].is_running(), serving.is_running()) == (False, True)
        assert serving.port != taken
    finally:
        serving.kill()


def test_the_first_start_that_keeps_its_ports_is_the_last() -> None:
    starts = 0

    def start(losses: int) -> int:
        nonlocal starts
        starts += 1
        if starts <= losses:
            raise PortTaken
        return starts

    assert elsewhere_if_taken(lambda: start(STARTS - 1)) == STARTS
    starts = 0
    with pytest.raises(PortTaken):
        elsewhere_if_taken(lambda: start(STARTS))
    assert starts == STARTS


@pytest.mark.parametrize("engine", [services.postgres, services.redis])
def test_an_engine_whose_port_is_taken_says_so(engine: Callable[[], services.Service], taken: int) -> None:
    make: Callable[[], services.Service] = type(engine())  # or be skipped without it
    second = make()
    second.port = taken
    try:
        with pytest.raises(PortTaken):
            second.start()
    finally:
        second.abandon()


def test_what_rabbitmq_writes_when_its_port_is_taken_is_understood() -> None:
    said = "Failed to start Ranch listener {acceptor,{127,0,0,1},15672} in ranch_tcp:listen for reason eaddrinuse"
    assert IN_USE.search(said)
    assert not IN_USE.search("RabbitMQ 3.10.8 is starting. Database directory is in use by nobody else")
