from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway.harness import GatewayFixture


@pytest.fixture
async def gateways() -> AsyncIterator[GatewayFixture]:
    async with GatewayFixture() as built:
        yield built
