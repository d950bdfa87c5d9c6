from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway.harness import House


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with House() as built:
        yield built
