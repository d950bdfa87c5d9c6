from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from roost.discovery.server import Discovery
from roost.wire.tokens import Keyring
from tests.roost.gateway import ScriptedGateway
from tests.roost.site import Site


@pytest.fixture
async def gateway() -> AsyncIterator[ScriptedGateway]:
    made = ScriptedGateway()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def discovery() -> AsyncIterator[Discovery]:
    """Beats are counted as live for long, so that a test beats once."""
    part = Discovery("127.0.0.1", 0, Keyring({"test": b"0123456789abcdef"}), interval_s=60.0)
    await part.start()
    yield part
    await part.stop()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.start()
    yield made
    await made.stop()
