"""Failpoints are off unless asked for, stop one process each, and name nothing that does not exist."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.support.components import COMMAND, ROOT
from roost.wire import failpoints
from roost.wire.errors import Misuse
from roost.wire.failpoints import Point

PACKAGES = ("wire", "discovery", "gateway", "backend", "roost")


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_off_nothing_happens() -> None:
    failpoints.arm("")
    failpoints.reach(Point.SUBMIT_BEGUN)
    assert not failpoints.are_armed()


def test_a_point_that_nobody_asked_for_stops_nobody(tmp_path: Path) -> None:
    failpoints.arm(str(tmp_path))
    failpoints.reach(Point.SUBMIT_BEGUN)
    assert failpoints.are_armed()


def test_of_two_processes_one_stops_where_it_was_asked_and_goes_on_when_it_is_let(tmp_path: Path) -> None:
    (tmp_path / Point.COMPLETE_BEGUN).touch()
    program = (
        "import sys; from wire import failpoints; failpoints.arm(sys.argv[1]); "
        "failpoints.reach(failpoints.Point.COMPLETE_BEGUN); print('past it', flush=True)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ended = os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WNOWAIT)
    assert ended is not None
    stopped = next(process for process in both if process.pid == ended.si_pid)
    (other,) = [process for process in both if process is not stopped]
    assert other.communicate(timeout=30)[0] == "past it\n"
    assert [file.name for file in tmp_path.iterdir()] == [f"complete.begun.stopped.{stopped.pid}"]
    stopped.send_signal(signal.SIGCONT)
    assert stopped.communicate(timeout=30)[0] == "past it\n"


def test_a_point_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    (tmp_path / "complete.comitted").touch()
    with pytest.raises(Misuse, match=r"no failpoint is called complete\.comitted: .*complete\.committed"):
        failpoints.arm(str(tmp_path))


@pytest.mark.parametrize("point", Point)
def test_a_folder_in_which_points_were_taken_is_fine_for_who_starts_later(tmp_path: Path, point: Point) -> None:
    (tmp_path / f"{point}{failpoints.STOPPED}123").touch()
    failpoints.arm(str(tmp_path))
    assert failpoints.are_armed()


@pytest.mark.slow
def test_a_part_does_not_start_with_failpoints_that_cannot_be(tmp_path: Path) -> None:
    variables = {**os.environ, failpoints.VARIABLE: str(tmp_path / "missing")}
    done = subprocess.run([COMMAND, "discovery", "--port", "0"], env=variables, capture_output=True, text=True)
    assert (done.returncode, "names no folder" in done.stderr) == (2, True)


def test_every_point_is_somewhere_in_the_program() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if file.name != "failpoints.py"]
    found = {name for file in files for name in re.findall(r"\bPoint\.([A-Z_]+)", file.read_text())}
    assert found == set(Point.__members__)
