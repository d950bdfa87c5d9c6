"""``python -m bench.support.job_gateway``: the whole system in one process, with the gateway's metrics.

Like ``roost up``, but with free ports; its output is that of ``python -m gateway``.
"""

from __future__ import annotations

from prometheus_client import REGISTRY

from roost.allinone import LOOPBACK, System, UpSettings
from roost.gateway.process.metrics import GatewayCollector
from roost.wire.service import AdminHttp, ServiceGroup, run
from roost.wire.telemetry import set_up_logging


def main() -> None:
    """Run until a signal arrives."""
    set_up_logging("WARNING")
    system = System(UpSettings())
    admin = AdminHttp(LOOPBACK, 0, lambda: system.stack.ready)
    REGISTRY.register(GatewayCollector(system.gateway))

    def announce() -> None:
        print(f"gateway listens on ws://{system.gateway.addresses[0]}/")
        print(f"capacity {system.gateway.capacity} connections")
        print(f"admin on port {admin.port}", flush=True)

    run(ServiceGroup([admin, system.stack]), announce)


if __name__ == "__main__":
    main()
