"""The whole system in this process, with the `Steps` kind beside the crawl."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bench.support.steps_kind import Steps
from roost.allinone import System, UpSettings, all_in_one
from roost.backend.kinds.registry import Kinds


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
async def system(steps: Steps) -> AsyncIterator[System]:
    async with all_in_one(UpSettings(), Kinds([steps])) as system:
        yield system
