"""Measures processes (own memory, processor time) by the kernel's counters, and starts and commands them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NO_VARIABLES: Mapping[str, str] = {}
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_CPUS = sorted(os.sched_getaffinity(0))

CPU_COUNT = len(_CPUS)

SERVER_CPUS = frozenset(_CPUS[:1])
"""The processor of a server under measurement."""

LOAD_CPUS = frozenset(_CPUS[1:] or _CPUS)
"""The processors of load clients."""


@dataclass(frozen=True)
class Cpu:
    """Processor time a process has used, all threads. The kernel's share is counted in ticks of 10 ms."""

    total_s: float
    user_s: float
    kernel_s: float

    def since(self, before: Cpu) -> Cpu:
        """Return the time used since `before`; the total is exact, and the shares are scaled to it."""
        total_s = self.total_s - before.total_s
        user_s, kernel_s = self.user_s - before.user_s, self.kernel_s - before.kernel_s
        kernel_s = total_s * kernel_s / ((user_s + kernel_s) or 1)
        return Cpu(total_s, total_s - kernel_s, kernel_s)


@dataclass(frozen=True)
class Figures:
    """Figures of a process at one moment. `kernel_bytes` are of the whole machine, both ends of each connection
    included.
    """

    own_bytes: int
    resident_bytes: int
    kernel_bytes: int
    cpu: Cpu


def look(pid: int) -> Figures:
    """Measure now."""
    return Figures(own_bytes(pid), resident_bytes(pid), kernel_bytes(), cpu(pid))


def own_bytes(pid: int) -> int:
    """Memory that this process has written: its anonymous pages, in RAM or swapped out, and its huge pages.

    Heap, stacks, anonymous mappings, and the pages of a private file mapping that were written to (each then has a copy
    of its own) count; pages of files and of shared memory do not, whether clean or dirty. So the figure does not move
    when another process maps or unmaps the same libraries. "Private_Dirty" does: a page of a file that is not on the
    disk yet counts there as long as nobody else maps the file. Nor does it move when the process forks, since pages
    that are still shared with a child count in full, in both.
    """
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, _ = line.split()
        sizes[name.rstrip(":")] = int(size) * 1024
    return sizes["Anonymous"] + sizes["Swap"] + sizes["Private_Hugetlb"]


def resident_bytes(pid: int) -> int:
    """Memory of this process that is in RAM, shared pages included (RSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def kernel_bytes() -> int:
    """Memory of the kernel's own objects, sockets among them; of the whole machine."""
    meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(meminfo["Slab"].split()[0]) * 1024


def machine_cpu_s() -> float:
    """Return the processor time used since the machine started, by all processes."""
    user, nice, system, _, _, *interrupts = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(int(ticks) for ticks in (user, nice, system, *interrupts)) / _TICKS_PER_S


def cpu(pid: int) -> Cpu:
    """Processor time the process has used until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    total_s = _scheduled_s(pid, 0)
    return Cpu(total_s, int(fields[11]) / _TICKS_PER_S, int(fields[12]) / _TICKS_PER_S)


def session_cpu_s(session: int) -> float:
    """Processor time of all processes of a session that are there, and of those of their children that have ended."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            fields = (process / "stat").read_text().rpartition(") ")[2].split()
            ticks += sum(map(int, fields[11:15])) if int(fields[3]) == session else 0
    return ticks / _TICKS_PER_S


def waited_s(pid: int) -> float:
    """Time for which threads of the process were ready to run and something else had the processor."""
    return _scheduled_s(pid, 1)


def _scheduled_s(pid: int, column: int) -> float:
    """The sum of a column of nanoseconds in each thread's schedstat: on a processor, waiting for one."""
    total_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it has just ended
            total_ns += int((thread / "schedstat").read_text().split()[column])
    return total_ns / 1e9


Running = AbstractContextManager[subprocess.Popen[str]]


@contextmanager
def running(
    command: list[str], cpus: frozenset[int] = LOAD_CPUS, variables: Mapping[str, str] = NO_VARIABLES
) -> Iterator[subprocess.Popen[str]]:
    """A process on these processors with pipes for its standard input and output; `variables` are added to its own.

    It is ended by SIGTERM, or by SIGKILL after 20 s.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),  # threads of its own inherit it
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
    """Return the next line of its standard output. Raises RuntimeError when the process has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with status {process.wait()}")
    return line.strip()


def order(process: subprocess.Popen[str], line: str) -> None:
    """Write a line to its standard input."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def tell(process: subprocess.Popen[str], line: str) -> str:
    """Write a line to its standard input; return its answer."""
    order(process, line)
    return said(process)
