"""Tests run on the loop that the product runs on, and a busy machine fails none of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from bench.support.services import FORBIDDEN

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("untimed"), max_examples=10)
settings.load_profile("untimed")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


NEEDS = ("engines", "root", "sites", "slow")
"""Markers by need (pyproject.toml says what each means); ``make quick`` runs the tests without any of them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"leave out tests that are marked {', '.join(NEEDS)}")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        settings.load_profile("quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ``--quick`` leaves out. Otherwise start with long files, so that no worker ends late."""
    needy = {item for item in items if any(item.get_closest_marker(need) for need in NEEDS)}
    if not config.getoption("--quick"):
        long_files = {item.path for item in needy}
        items.sort(key=lambda item: item.path not in long_files)
        return
    os.environ[FORBIDDEN] = "1"
    config.hook.pytest_deselected(items=[item for item in items if item in needy])
    items[:] = [item for item in items if item not in needy]
