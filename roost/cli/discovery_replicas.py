"""What operators ask of discovery: every replica, for they share nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from roost.client.route import checked_url, reason
from roost.wire.codec import to_json
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput

ASK_S = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What one replica said: `body` is an answer with status 200, otherwise `problem` says why there is none."""

    url: str
    body: dict[str, Any] | None = None
    problem: str = ""


class Replicas:
    """All replicas of one discovery. Raises BadInput for URLs that cannot be theirs."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [checked_url(url) for url in urls]
        if not self._urls or any(url.scheme not in ("http", "https") for url in self._urls):
            raise BadInput(ErrorCode.BAD_URL, "name the URL of discovery: --server http://HOST:PORT")

    async def components(self) -> list[Reply]:
        """Who is alive, as each of them knows it."""
        return await self._ask_all("GET", "v1/components", {}, None)

    async def order(self, path: str, token: Mapping[str, str], body: dict[str, Any] | None = None) -> list[Reply]:
        """Ask for something that needs the admin token, whose headers are `token`."""
        return await self._ask_all("POST", path, token, to_json(body or {}))

    async def _ask_all(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> list[Reply]:
        async with aiohttp.ClientSession(headers=headers, trust_env=False) as http:
            return await asyncio.gather(*(_ask(http, method, url, path, body) for url in self._urls))


async def _ask(http: aiohttp.ClientSession, method: str, url: URL, path: str, body: bytes | None) -> Reply:
    where = str(url).rstrip("/")
    try:
        timeout = aiohttp.ClientTimeout(total=ASK_S)
        async with http.request(method, url / path, data=body, timeout=timeout) as response:
            said = msgspec.json.decode(await response.read(), type=dict[str, Any])
            if response.status == 200:
                return Reply(where, said)
            return Reply(where, problem=str(said.get("message", f"it answered {response.status}")))
    except msgspec.DecodeError:
        return Reply(where, problem="it does not answer like Roost's discovery")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
        return Reply(where, problem=f"cannot be reached: {reason(problem)}")
