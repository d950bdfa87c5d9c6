"""State that several connections, jobs or parts share is changed by synchronous code (I7).

Code without an await runs from what it looks at to what it changes without anything in between. So the modules that
hold such state have none, and neither have those that `pyproject.toml` declares pure.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE = "Pure modules do no I/O, read no clock and draw no lots, not even through others"
STATEFUL = (
    "roost.backend.client_protocol.application",
    "roost.backend.store.sqlite.acquire",
    "roost.backend.store.sqlite.decisions",
    "roost.backend.store.sqlite.transaction",
    "roost.discovery.core.table",
    "roost.gateway.admission.limits",
    "roost.gateway.api",
    "roost.gateway.deadlines",
    "roost.gateway.io.writer",
    "roost.gateway.io.outbox",
    "roost.gateway.io.poller",
    "roost.gateway.connections.slots",
    "roost.gateway.io.reader",
    "roost.gateway.admission.tickets",
    "roost.gateway.connections.wheel",
)
"""Modules that hold or change shared state; the store's run in one transaction each, the gateway's in one turn."""


def pure_modules() -> list[str]:
    """The modules that import-linter keeps from I/O."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    modules: list[str] = next(contract for contract in contracts if contract["name"] == PURE)["source_modules"]
    return modules


def files_of(module: str) -> list[Path]:
    """The file of a module, or all files of a package."""
    place = ROOT / module.replace(".", "/")
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def asynchronous(code: str) -> Iterator[str]:
    """The functions that may wait, as only an ``async def`` can.

    Those that are only declared, as in a protocol, are none: they have a docstring and no other statement.
    """
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.AsyncFunctionDef) and not _is_declared_only(node):
            yield node.name


def _is_declared_only(function: ast.AsyncFunctionDef) -> bool:
    return all(isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) for step in function.body)


@pytest.mark.parametrize("module", sorted({*pure_modules(), *STATEFUL}))
def test_i7_code_that_changes_shared_state_never_waits(module: str) -> None:
    files = files_of(module)
    assert files
    for file in files:
        assert list(asynchronous(file.read_text(encoding="utf-8"))) == [], file


def test_functions_that_may_wait_are_seen_wherever_they_are() -> None:
    code = """
class Port(Protocol):
    async def declared(self): '''Only promised.'''
class Table:
    async def waits(self): await other()
def synchronous():
    async def inner(): return 1
    return 2
"""
    assert list(asynchronous(code)) == ["waits", "inner"]
