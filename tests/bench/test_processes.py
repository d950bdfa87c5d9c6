"""What a process owns is measured on this very process, by what it has just done."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

from bench import processes

MIB = 1 << 20
SLACK_BYTES = MIB
"""What the interpreter may allocate meanwhile."""

MAP_AND_WAIT = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    print(sum(pages[:: mmap.PAGESIZE]), flush=True)
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


def own_bytes() -> int:
    return processes.own_bytes(os.getpid())


def test_memory_that_is_written_is_own() -> None:
    before = own_bytes()
    with mmap.mmap(-1, 16 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        assert own_bytes() - before < SLACK_BYTES, "what is only reserved is not"
        pages.write(b"x" * 8 * MIB)
        assert abs(own_bytes() - before - 8 * MIB) < SLACK_BYTES
    assert abs(own_bytes() - before) < SLACK_BYTES


def test_what_is_own_does_not_move_when_another_process_maps_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "library"
    file.write_bytes(os.urandom(8 * MIB))  # its pages are dirty still, as those of a library that was just installed
    before = own_bytes()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        touched = sum(pages[:: mmap.PAGESIZE])
        assert abs(own_bytes() - before) < SLACK_BYTES
        with processes.running([sys.executable, "-c", MAP_AND_WAIT, str(file)]) as other:
            assert int(processes.said(other)) == touched
            assert abs(own_bytes() - before) < SLACK_BYTES


def test_what_is_own_does_not_move_when_the_process_forks() -> None:
    with processes.running([sys.executable, "-c", FORK_AND_WAIT]) as forking:
        assert processes.said(forking) == "alone"
        before = processes.own_bytes(forking.pid)
        assert before > 8 * MIB
        for event in ("forked", "child has ended"):
            assert processes.tell(forking, "go on") == event
            assert abs(processes.own_bytes(forking.pid) - before) < SLACK_BYTES
        processes.order(forking, "end")
