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
settings.load_profile("untimed")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


NEEDS = ("engines", "root", "sites", "slow")
"""Markers by need (pyproject.toml says what each means); ``make quick`` runs the tests without any of them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=f"leave out tests that are marked {', '.join(NEEDS)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        return
    os.environ[FORBIDDEN] = "1"
    needy = [item for item in items if any(item.get_closest_marker(need) for need in NEEDS)]
    config.hook.pytest_deselected(items=needy)
    items[:] = [item for item in items if item not in set(needy)]
