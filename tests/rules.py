"""Which tests hold which guarantee: the invariants I1 to I8 and the rules P1 to P32 and P39 of the job protocol.

`docs/protocol/guarantees.md` says what each one promises. A test that holds a guarantee begins with its name:
``test_p14_…``, or ``test_i1_to_i4_…`` for several that follow each other.

``python -m tests.rules`` prints the tests of each guarantee; with ``--write`` it renews the lists of tests in the page.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

RULES = [f"I{number}" for number in range(1, 9)] + [f"P{number}" for number in (*range(1, 33), 39)]
ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "protocol" / "guarantees.md"
PRODUCT = ("wire", "discovery", "gateway", "backend", "roost")

Defenders = Mapping[str, Sequence[tuple[Path, str]]]
"""The tests of each guarantee: the file, and the name of the function."""

_NAME = re.compile(r"test_([pi])(\d+)(?:_to_\1(\d+))?_\w+")
_CITED = re.compile(r"\b[IP]\d+\b")
_SECTION = re.compile(r"^### ([IP]\d+): .+\n(?:(?!##).*\n)*", re.MULTILINE)
_LIST = re.compile(r"\n<details><summary>Tests.*?</details>\n", re.DOTALL)


def defenders() -> Defenders:
    """The tests that name each guarantee, in the order of their files."""
    found: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for file in sorted(TESTS.rglob("*.py")):
        for name, rules in named(file.read_text(encoding="utf-8")):
            for rule in rules:
                found[rule].append((file, name))
    return dict(found)


def named(code: str) -> Iterator[tuple[str, list[str]]]:
    """The tests in `code` that name guarantees, each with those that it names."""
    for node in ast.walk(ast.parse(code)):
        name = _NAME.fullmatch(node.name) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
        if name is not None:
            letter, first, last = name.groups()
            yield name[0], [f"{letter.upper()}{number}" for number in range(int(first), int(last or first) + 1)]


def cited() -> dict[str, set[str]]:
    """The guarantees that the code of the product cites, each with the files that cite it."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in (file for package in PRODUCT for file in sorted((ROOT / package).rglob("*"))):
        if file.suffix in (".py", ".pyi", ".sql", ".c", ".md"):
            for rule in _CITED.findall(file.read_text(encoding="utf-8")):
                found[rule].add(str(file.relative_to(ROOT)))
    return dict(found)


def sections(page: str) -> dict[str, str]:
    """The sections of the page by guarantee, in the order of the page. Raises ValueError when one occurs twice."""
    found: dict[str, str] = {}
    for section in _SECTION.finditer(page):
        if section[1] in found:
            raise ValueError(f"{section[1]} has two sections")
        found[section[1]] = section[0]
    return found


def with_lists(page: str, tests: Defenders) -> str:
    """The page with the list of tests at the end of each section; lists that were there before are replaced."""

    def renewed(section: re.Match[str]) -> str:
        return _LIST.sub("", section[0]).rstrip("\n") + "\n" + _list(tests.get(section[1], ())) + "\n"

    return _SECTION.sub(renewed, page).rstrip("\n") + "\n"


def _list(tests: Sequence[tuple[Path, str]]) -> str:
    items = "".join(f"- [{file.name}]({os.path.relpath(file, PAGE.parent)}): `{name}`\n" for file, name in tests)
    return f"\n<details><summary>Tests ({len(tests)})</summary>\n\n{items}\n</details>\n"


def main() -> None:
    """Print the lists, or write them into the page."""
    options = argparse.ArgumentParser(prog="python -m tests.rules", description="The tests of each guarantee.")
    options.add_argument("--write", action="store_true", help=f"renew the lists in {PAGE.relative_to(ROOT)}")
    tests = defenders()
    if options.parse_args().write:
        PAGE.write_text(with_lists(PAGE.read_text(encoding="utf-8"), tests), encoding="utf-8")
        return
    for rule in RULES:
        lines = [f"{file.relative_to(ROOT)}::{name}" for file, name in tests.get(rule, ())]
        sys.stdout.write("\n    ".join([rule, *lines]) + "\n")


if __name__ == "__main__":
    main()
