"""Which tests defend which rule of the job protocol (P1 to P32), and which invariant: ``python -m tests.rules``.

A test that defends a rule begins with its name: ``test_p14_…``.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

RULES = [f"P{number}" for number in range(1, 33)]
TESTS = Path(__file__).resolve().parent
NAMED = re.compile(r"^ *(?:async )?def (test_([pi]\d+)_\w+)", re.MULTILINE)


def defenders() -> dict[str, list[str]]:
    """The tests, ``file::name``, of each rule and invariant that any names."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(TESTS.rglob("*.py")):
        for name, rule in NAMED.findall(file.read_text()):
            found[rule.upper()].append(f"{file.relative_to(TESTS.parent)}::{name}")
    return dict(found)


def main() -> None:
    """The list."""
    for rule, tests in sorted(defenders().items(), key=lambda entry: (entry[0][0] == "I", int(entry[0][1:]))):
        sys.stdout.write("\n    ".join([rule, *tests]) + "\n")


if __name__ == "__main__":
    main()
