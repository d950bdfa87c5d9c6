"""Prometheus metrics of a gateway, made from its counters when they are scraped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from roost.gateway.compiled import is_compiled
from roost.gateway.server import Server

_TOTALS = {
    "accepted": "Sockets accepted",
    "opened": "Handshakes that became connections",
    "messages_in": "Messages from clients",
    "messages_out": "Messages to clients",
    "bytes_in": "Bytes read from clients",
    "bytes_out": "Bytes the kernel took for clients",
    "pings": "Keepalive pings sent",
    "slow_closes": "Clients closed because they did not read what was sent to them",
    "moves": "Clients told to go to another gateway",
    "accept_pauses": "Times that accepting paused because capacity or descriptors were exhausted",
    "application_errors": "Callbacks of the application that raised",
}


class GatewayCollector(Collector):
    """Collects the counters of one server.

    `python_blocks` and `tasks` show that idle connections own no object and no task.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that registering does not collect, which would need the running event loop."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield from self._totals()
        yield from self._levels()
        yield _gauge(
            "python_blocks", "Memory blocks of Python objects; an object has at least one", sys.getallocatedblocks()
        )
        yield _gauge("tasks", "asyncio tasks", len(asyncio.all_tasks()))
        yield _gauge("compiled", "1 where the hot paths use the C extensions", is_compiled)

    def _totals(self) -> Iterator[Metric]:
        counters = self._server.counters
        for name, text in _TOTALS.items():
            yield CounterMetricFamily(f"roost_gateway_{name}", text, value=getattr(counters, name))
        refused = CounterMetricFamily("roost_gateway_refused", "Handshakes refused", labels=["reason"])
        for reason, count in counters.refused.items():
            refused.add_metric([reason], count)
        yield refused
        closed = CounterMetricFamily("roost_gateway_closed", "Connections that ended", labels=["code"])
        for code, count in counters.closed.items():
            closed.add_metric([str(code)], count)
        yield closed

    def _levels(self) -> Iterator[Metric]:
        server = self._server
        writer = server.writer
        yield _gauge("connections", "Connections held, opening and closing ones included", server.connections)
        yield _gauge("open_connections", "Connections on which messages flow", server.counters.open_now)
        yield _gauge("capacity", "Connections that can be held", server.capacity)
        yield _gauge("room", "Connections that can be held with the memory there is", server.room())
        yield _gauge(
            "loop_lag_seconds", "Longest delay of the event loop in the last second", server.ticker.lag_ms / 1e3
        )
        waiting = sum(outbox.byte_count for outbox in writer.outboxes.values())
        yield _gauge("outbox_bytes", "Bytes waiting for slow clients", waiting)
        yield _gauge("outboxes", "Clients that have bytes waiting", len(writer.outboxes))
        yield _gauge("parsers", "Connections with a partial frame or fragmented message", len(writer.parsers))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"roost_gateway_{name}", text, value=value)
