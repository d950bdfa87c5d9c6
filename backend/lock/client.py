"""HTTP client for the lock servers. It asks one of them, and the next one when that does not answer (P18).

Every request may be repeated unchanged, so that a lost answer costs only a second try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import aiohttp

from roost.wire.auth import InternalSecret
from roost.wire.codec import Unpacker, pack
from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError, Unavailable
from roost.wire.messages import lock as messages
from roost.wire.messages.lock import (
    Answer,
    Decision,
    FinishedRequests,
    GatewayPoll,
    LeaseAnswer,
    LeaseRenewal,
    PutPart,
    ReadParts,
    Verdict,
)

ANSWER_S = 0.8
"""Timeout for a small request to one server: with a second try it is well below the 2 s between renewals (P18)."""
PART_S = 5.0
"""Timeout (seconds) for a request that carries or reads parts."""

T = TypeVar("T")


class LockClient:
    """A `Service`. `addresses` returns the base URLs of the live lock servers, as last received from discovery."""

    def __init__(self, addresses: Callable[[], list[str]], secret: InternalSecret) -> None:
        self._addresses, self._secret = addresses, secret
        self._preferred = 0
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(headers=self._secret.headers(), trust_env=False)

    async def drain(self) -> None:
        """Do nothing: other services still use this client while they drain."""

    async def stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def decide(self, decisions: list[Decision]) -> list[Answer]:
        """Return an answer to each decision, in order.

        Raises Unavailable: then none or all decisions were made, and they may be sent again.
        """
        return await self._ask_all("/v1/decide", decisions, messages.read_answers)

    async def beat(self, renewals: list[LeaseRenewal]) -> list[LeaseAnswer]:
        """Renew leases; an answer to each, in order. Raises Unavailable."""
        return await self._ask_all("/v1/beat", renewals, messages.read_lease_answers)

    async def put_part(self, part: PutPart) -> Verdict:
        """Store a result part. Raises Unavailable."""
        return await self._ask("/v1/part", part, messages.read_verdict, PART_S)

    async def read_parts(self, wanted: ReadParts) -> list[bytes]:
        """Return parts of the result of an ended job, compressed. Raises Unavailable."""
        return await self._ask("/v1/parts", wanted, messages.read_parts, PART_S)

    async def sweep(self, gateway: str) -> FinishedRequests:
        """Return the finished requests of a gateway's connected clients. Raises Unavailable."""
        return await self._ask("/v1/sweep", GatewayPoll(gateway), messages.read_finished_requests, PART_S)

    async def _ask_all(self, path: str, questions: Sequence[object], read: Unpacker[list[T]]) -> list[T]:
        def read_all(body: bytes) -> list[T]:
            answers = read(body)
            if len(answers) != len(questions):
                raise DecodeError(ErrorCode.BAD_MESSAGE, f"{len(answers)} answers to {len(questions)} questions")
            return answers

        return await self._ask(path, questions, read_all, ANSWER_S)

    async def _ask(self, path: str, question: object, read: Callable[[bytes], T], timeout_s: float) -> T:
        """Return the first answer that can be decoded; another program may be listening at an old address."""
        body = pack(question)
        addresses = self._addresses()
        first = self._preferred  # concurrent calls change `_preferred`; this call must not skip a server
        reason = "discovery knows of none"
        for attempt in range(len(addresses)):
            number = (first + attempt) % len(addresses)
            try:
                answer = read(await self._post(addresses[number] + path, body, timeout_s))
                self._preferred = number
                return answer
            except (aiohttp.ClientError, TimeoutError, OSError, DecodeError) as problem:
                reason = f"{addresses[number]}: {str(problem) or type(problem).__name__}"
        raise Unavailable("lock server", reason)

    async def _post(self, url: str, body: bytes, timeout_s: float) -> bytes:
        if self._session is None:
            raise Unavailable("lock server", "this client is not started, or stopped")
        async with asyncio.timeout(timeout_s), self._session.post(url, data=body) as answer:
            if answer.status != 200:
                raise aiohttp.ClientError(f"status {answer.status}: {(await answer.text())[:200]}")
            return await answer.read()
