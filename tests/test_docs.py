"""What the documents name is there."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
import typer

from roost.cli.commands import app
from tests.markdown import anchors, links

ROOT = Path(__file__).parent.parent
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name / "README.md" for name in ("bench", "gateway", "discovery")),
    ]
)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_the_readme_can_be_read_at_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for text, path, anchor in links(page):
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), (text, path)
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), (text, path, anchor)


@every_page
def test_commands_and_modules_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.name == "CHANGELOG.md":
        return  # it tells of what was, too
    command = typer.main.get_command(app)
    known = set(command.commands)  # type: ignore[attr-defined]
    for name in re.findall(r"^(?:\$ )?roost ([a-z]+)", text, re.MULTILINE) + re.findall(r"`roost ([a-z]+)", text):
        assert name in known, name
    for module in re.findall(r"python -m ([a-z_.]+)", text):
        assert importlib.util.find_spec(module) is not None, module


@every_page
def test_python_in_it_compiles(page: Path) -> None:
    for code in PYTHON.findall(page.read_text(encoding="utf-8")):
        compile(code, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
