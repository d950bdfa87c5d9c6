"""What a process owns is measured on processes that do one thing and wait."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.support import processes

MIB = 1 << 20
SLACK_BYTES = MIB
"""What an interpreter may allocate meanwhile."""

MAP_AND_WAIT = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    print(sum(pages[:: mmap.PAGESIZE]), flush=True)
    sys.stdin.readline()
"""

WRITE_AND_WAIT = """
import mmap, sys
print("ready", flush=True)
sys.stdin.readline()
pages = mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print("reserved", flush=True)
sys.stdin.readline()
for start in range(0, 8 << 20, mmap.PAGESIZE):
    pages[start] = 1
print("written", flush=True)
sys.stdin.readline()
pages.close()
print("given back", flush=True)
sys.stdin.readline()
"""

FORK_AND_WAIT = """
import os, sys
own = bytearray(b"x" * (8 << 20))
print("alone", flush=True)
sys.stdin.readline()
reader, writer = os.pipe()
child = os.fork()
if not child:
    os.close(writer)
    os.read(reader, 1)
    os._exit(0)
print("forked", flush=True)
sys.stdin.readline()
os.close(writer)
os.waitpid(child, 0)
print("child has ended", flush=True)
sys.stdin.readline()
"""


def test_memory_that_is_written_is_own() -> None:
    with processes.running([sys.executable, "-c", WRITE_AND_WAIT]) as writing:
        assert processes.said(writing) == "ready"
        before = processes.own_bytes(writing.pid)
        for event, own in (("reserved", 0), ("written", 8 * MIB), ("given back", 0)):
            assert processes.tell(writing, "go on") == event
            assert abs(processes.own_bytes(writing.pid) - before - own) < SLACK_BYTES
        processes.order(writing, "end")


def test_what_is_own_does_not_move_when_another_process_maps_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "library"
    file.write_bytes(os.urandom(8 * MIB))  # its pages are dirty still, as those of a library that was just installed
    command = [sys.executable, "-c", MAP_AND_WAIT, str(file)]
    with processes.running(command) as one:
        touched = processes.said(one)
        before = processes.own_bytes(one.pid)
        with processes.running(command) as other:
            assert processes.said(other) == touched
            assert abs(processes.own_bytes(one.pid) - before) < SLACK_BYTES


def test_what_is_own_does_not_move_when_the_process_forks() -> None:
    with processes.running([sys.executable, "-c", FORK_AND_WAIT]) as forking:
        assert processes.said(forking) == "alone"
        before = processes.own_bytes(forking.pid)
        assert before > 8 * MIB
        for event in ("forked", "child has ended"):
            assert processes.tell(forking, "go on") == event
            assert abs(processes.own_bytes(forking.pid) - before) < SLACK_BYTES
        processes.order(forking, "end")
