"""What a mutation is, and how it is tried."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEST_S = 120.0
"""A mutation that makes tests hang is noticed, too."""
FAILED = re.compile(r"^FAILED (\S+)", re.MULTILINE)

Selection = tuple[str, ...]
"""What pytest is to run: files, and ``-k`` with an expression."""


@dataclass(frozen=True)
class Change:
    """`old` stands `count` times in the file, and becomes `new`."""

    file: str
    old: str
    new: str
    count: int = 1


@dataclass(frozen=True)
class Mutation:
    """A rule that is broken, how, and who must notice."""

    rule: str
    what: str
    changes: tuple[Change, ...]
    tests: Selection


class NotApplicable(Exception):
    """The code has changed: the mutation is to be written again."""


@dataclass(frozen=True)
class Verdict:
    """`caught_by` is the test that failed; `problem` why nobody can tell."""

    caught_by: str = ""
    problem: str = ""
    took_s: float = 0.0


@contextmanager
def copy_of_the_tree(folder: Path) -> Iterator[Path]:
    """All that git knows of or would add, without what is made from it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() or (ROOT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    yield folder


@contextmanager
def mutated(tree: Path, mutation: Mutation) -> Iterator[None]:
    """The tree with the mutation. Raises NotApplicable, and leaves the tree as it was."""
    before: dict[Path, str] = {}
    try:
        for change in mutation.changes:
            path = tree / change.file
            text = path.read_text()
            before.setdefault(path, text)
            if text.count(change.old) != change.count:
                raise NotApplicable(f"{change.file} has {text.count(change.old)} times: {change.old!r}")
            path.write_text(text.replace(change.old, change.new))
        yield
    finally:
        for path, text in before.items():
            path.write_text(text)


def run_tests(tree: Path, tests: Selection) -> Verdict:
    """Until the first one fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=TEST_S)
    except subprocess.TimeoutExpired:
        return Verdict(f"{tests[0]}, which never ended", took_s=TEST_S)
    took_s = time.monotonic() - began
    failed = FAILED.search(done.stdout)
    if done.returncode == 1 and failed is not None:
        return Verdict(failed[1], took_s=took_s)
    return Verdict(problem="" if done.returncode == 0 else done.stdout[-500:] + done.stderr[-500:], took_s=took_s)


def attempt(tree: Path, mutation: Mutation) -> Verdict:
    """Break the rule, and see who notices."""
    try:
        with mutated(tree, mutation):
            return run_tests(tree, mutation.tests)
    except NotApplicable as problem:
        return Verdict(problem=f"no longer applies: {problem}")
