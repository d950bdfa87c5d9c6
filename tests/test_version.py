"""The version stands in pyproject.toml alone; the changelog has a dated section for it."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

from roost.wire.version import VERSION

ROOT = Path(__file__).parent.parent
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
WRITTEN_BY_HAND = ("Dockerfile", "docker-compose.yml", ".env.example", "Makefile", "README.md", "CONTRIBUTING.md")
PACKAGES = ("backend", "discovery", "gateway", "roost", "wire")


def test_every_part_reports_the_version_of_pyproject() -> None:
    assert VERSION == DECLARED


def test_the_newest_release_of_the_changelog_is_this_version_and_has_a_date() -> None:
    newest = re.search(r"^## \[(\d[^]]*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None
    assert newest[1] == DECLARED
    date.fromisoformat(newest[2])


def test_no_other_file_repeats_the_version() -> None:
    files = [ROOT / name for name in WRITTEN_BY_HAND]
    files += [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    version = re.compile(rf"(?<![\d.]){re.escape(DECLARED)}(?![\d.])")
    assert [str(file) for file in files if version.search(file.read_text())] == []
