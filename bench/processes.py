"""What the kernel knows of a process: memory of its own, processor time."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def own_bytes(pid: int) -> int:
    """Memory that this process has written and shares with nobody (private dirty pages).

    Unlike USS and PSS it does not change when another process that uses the same libraries comes or goes.
    """
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, _ = line.split()
        sizes[name.rstrip(":")] = int(size) * 1024
    return sizes["Private_Dirty"] + sizes["Private_Hugetlb"]


def resident_bytes(pid: int) -> int:
    """Memory of this process that is in RAM, shared pages included (RSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def kernel_bytes() -> int:
    """Memory of the kernel's own objects, sockets among them; of the whole machine."""
    meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(meminfo["Slab"].split()[0]) * 1024


def cpu_s(pid: int) -> float:
    """Processor time the process has used, in user space and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@contextmanager
def running(command: list[str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes for its standard input and output; ended by SIGTERM, or by SIGKILL after 20 s."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    """The next line of its standard output. Raises RuntimeError when it has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with status {process.wait()}")
    return line.strip()


def tell(process: subprocess.Popen[str], line: str) -> str:
    """Write a line to its standard input; its answer."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return said(process)
