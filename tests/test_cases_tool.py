"""`tools/cases` runs the scripts of a folder and says of each how it ended."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools" / "cases"


def cases(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, timeout=100)


@pytest.mark.slow
def test_each_script_has_a_line_with_its_end_and_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "shared.py").write_text("VALUE = 7\n")
    (tmp_path / "a_right.py").write_text("import roost, shared\nprint('first')\nprint('value', shared.VALUE)\n")
    (tmp_path / "b_wrong.py").write_text("raise SystemExit('not what it should be')\n")
    (tmp_path / "below" / "c_endless.py").write_text("import time\ntime.sleep(60)\n")
    done = cases(str(tmp_path), "--seconds", "8")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(line[0], line[3:]) for line in lines[:-1]] == [
        ("a_right.py", ["ok", "value", "7"]),
        ("b_wrong.py", ["exit", "1", "not", "what", "it", "should", "be"]),
        ("below/c_endless.py", ["still", "running", "after", "8", "s"]),
    ]
    assert (done.stdout.splitlines()[-1], done.returncode) == ("1 of 3 ok", 1)
    assert cases(str(tmp_path), "a_right").returncode == 0


@pytest.mark.slow
def test_what_a_script_started_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "starts.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    assert cases(str(tmp_path), "--seconds", "5").returncode == 1
    deadline_s = time.monotonic() + 10
    while runs((tmp_path / "pid").read_text()):
        assert time.monotonic() < deadline_s


def runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_folder_that_is_not_there_or_has_no_script_is_an_error(tmp_path: Path) -> None:
    for folder in ("", str(tmp_path), str(tmp_path / "nowhere")):
        assert cases(folder).returncode == 2
