"""Available memory, read from a directory tree like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.gateway.process.memory import CONNECTION_BYTES, TLS_BYTES, spare_bytes
from tests.gateway.harness import GatewayFixture

KIB, GIB = 1024, 1024**3


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


MACHINE = {"proc/meminfo": f"MemTotal: {8 * GIB // KIB} kB\nMemFree: 1 kB\nMemAvailable: {4 * GIB // KIB} kB\n"}
GROUP = "sys/fs/cgroup"
V2 = {f"{GROUP}/memory.current": f"{GIB}\n", f"{GROUP}/memory.stat": f"anon 5\ninactive_file {GIB // 2}\n"}
OLD = f"{GROUP}/memory"
V1 = {f"{OLD}/memory.usage_in_bytes": f"{GIB}\n", f"{OLD}/memory.stat": f"total_inactive_file {GIB // 2}\n"}


@pytest.mark.parametrize(
    ("files", "spare"),
    [
        (MACHINE, 3.6 * GIB),
        (MACHINE | V2 | {f"{GROUP}/memory.max": "max\n"}, 3.6 * GIB),
        (MACHINE | V2 | {f"{GROUP}/memory.max": f"{2 * GIB}\n"}, 1.4 * GIB),
        (MACHINE | V1 | {f"{OLD}/memory.limit_in_bytes": f"{2 * GIB}\n"}, 1.4 * GIB),
        (MACHINE | V1 | {f"{OLD}/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, 3.6 * GIB),
        ({"proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 10 kB\n"}, 0),
    ],
)
def test_what_is_left_is_the_least_of_what_the_machine_and_its_group_allow(
    tmp_path: Path, files: dict[str, str], spare: float
) -> None:
    write(tmp_path, files)
    assert spare_bytes(tmp_path) == pytest.approx(spare, abs=2 * KIB)


def test_where_the_system_does_not_say_memory_is_no_limit(tmp_path: Path) -> None:
    assert spare_bytes(tmp_path) >= 2**60
    write(tmp_path, {"proc/meminfo": "MemTotal:\nrubbish\n"})
    assert spare_bytes(tmp_path) >= 2**60


async def test_a_gateway_reports_no_more_room_than_it_has_memory_for(
    gateways: GatewayFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await gateways.serve(max_connections=100)
    await gateways.open(server)
    assert server.vitals().capacity == 100
    monkeypatch.setattr("roost.gateway.server.spare_bytes", lambda: 10 * CONNECTION_BYTES + 1)
    assert (server.vitals().capacity, server.capacity) == (11, 100)
    monkeypatch.setattr("roost.gateway.server.spare_bytes", lambda: 0)
    assert server.vitals().capacity == server.connections == 1
    assert TLS_BYTES > CONNECTION_BYTES
