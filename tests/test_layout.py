"""Folders, files and functions stay small enough to be read at one sitting (docs/design/layout.md)."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("backend", "discovery", "gateway", "roost", "wire", "bench")
MODULES_PER_FOLDER = 22
LINES_PER_FILE = 400
LINES_PER_FUNCTION = 50


def modules(folder: str) -> list[Path]:
    """The Python files below a folder at the top level; links to other such folders are not followed."""
    return [
        path
        for path in (ROOT / folder).rglob("*.py")
        if not any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(ROOT))
    ]


@pytest.mark.parametrize("folder", [*PRODUCT, "tests"])
def test_no_folder_has_more_modules_than_one_looks_over(folder: str) -> None:
    counts = Counter(path.parent.relative_to(ROOT) for path in modules(folder) if path.name != "__init__.py")
    assert counts
    assert {str(name): count for name, count in counts.items() if count > MODULES_PER_FOLDER} == {}


@pytest.mark.parametrize("folder", PRODUCT)
def test_files_and_functions_have_one_concern(folder: str) -> None:
    for path in modules(folder):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LINES_PER_FILE, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < LINES_PER_FUNCTION, (path, node.name)
