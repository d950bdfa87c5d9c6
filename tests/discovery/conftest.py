from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from roost.discovery.server import Discovery
from roost.wire.auth import AdminToken, InternalSecret
from roost.wire.tokens import Keyring

SECRET = InternalSecret("a shared secret of these tests")
ADMIN = AdminToken("an operator's token of these tests")


@pytest.fixture
def keyring() -> Keyring:
    return Keyring({"test": b"0123456789abcdef"})


@pytest.fixture
async def discovery(keyring: Keyring) -> AsyncIterator[Discovery]:
    part = Discovery("127.0.0.1", 0, keyring, secret=SECRET, admin=ADMIN)
    await part.start()
    yield part
    await part.stop()


@pytest.fixture
async def http(discovery: Discovery) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(discovery.url) as session:
        yield session
