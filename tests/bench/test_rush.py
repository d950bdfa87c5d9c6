"""Clients that find their gateway through discovery, against real processes that are killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import pytest

from bench.load.rush import clustered
from bench.support.clients.discovery_clients import DiscoveryClients

pytestmark = pytest.mark.slow

DEADLINE_S = 60.0


def serve_until(seekers: DiscoveryClients, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        seekers.serve(0.05)
        if time.monotonic() > deadline:
            pytest.fail(f"not in time: {seekers.figures()}")


def test_a_crowd_is_even_comes_back_from_a_killed_gateway_and_does_not_notice_that_discovery_was_away() -> None:
    with clustered(gateway_count=2) as cluster, closing(DiscoveryClients(0, [cluster.replicas[0].port])) as seekers:
        (discovery,) = cluster.replicas

        def are_all_in() -> bool:
            figures = seekers.figures()
            return figures.connected == figures.present

        seekers.come(40)
        serve_until(seekers, are_all_in)
        assert cluster.held() == [20, 20]

        seekers.mark()
        cluster.gateways[0].kill()
        serve_until(seekers, lambda: seekers.lost == 20 and are_all_in())
        assert cluster.held() == [40]

        seekers.mark()
        discovery.kill()
        seekers.come(10)
        serve_until(seekers, lambda: sum(seekers.refusals.values()) >= 10)
        discovery.start()
        serve_until(seekers, are_all_in)
        assert seekers.lost == 0
        assert cluster.held() == [50]
        assert set(seekers.refusals) <= {"nobody listens", "no connection", "discovery broke off", "discovery said 503"}
