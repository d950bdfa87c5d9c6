"""Asking a lock server: any of them, the next one when it does not answer (P18).

Every request may be repeated as it is, so a lost answer costs a second try and nothing else.
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
"""Patience with one server for a small request: well inside a 2 s beat, also with a second try (P18)."""
PART_S = 5.0
"""Patience for a request that carries or reads parts."""

T = TypeVar("T")


class LockClient:
    """A `Part`. `addresses` gives the base URLs of live lock servers, as discovery last said."""

    def __init__(self, addresses: Callable[[], list[str]], secret: InternalSecret) -> None:
        self._addresses, self._secret = addresses, secret
        self._preferred = 0
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(headers=self._secret.headers(), trust_env=False)

    async def drain(self) -> None:
        """Others still use it while they drain."""

    async def stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def decide(self, decisions: list[Decision]) -> list[Answer]:
        """An answer each, in order. Raises Unavailable: none or all were made, and may be asked again."""
        return await self._ask_all("/v1/decide", decisions, messages.read_answers)

    async def beat(self, beats: list[LeaseRenewal]) -> list[LeaseAnswer]:
        """Renew leases. Raises Unavailable."""
        return await self._ask_all("/v1/beat", beats, messages.read_lease_answers)

    async def put_part(self, part: PutPart) -> Verdict:
        """Store a result part. Raises Unavailable."""
        return await self._ask("/v1/part", part, messages.read_verdict, PART_S)

    async def read_parts(self, wanted: ReadParts) -> list[bytes]:
        """Parts of an ended job, compressed. Raises Unavailable."""
        return await self._ask("/v1/parts", wanted, messages.read_parts, PART_S)

    async def sweep(self, gateway: str) -> FinishedRequests:
        """What ended for a gateway's clients. Raises Unavailable."""
        return await self._ask("/v1/sweep", GatewayPoll(gateway), messages.read_finished_requests, PART_S)

    async def _ask_all(self, path: str, questions: Sequence[object], read: Unpacker[list[T]]) -> list[T]:
        def read_all(body: bytes) -> list[T]:
            answers = read(body)
            if len(answers) != len(questions):
                raise DecodeError(ErrorCode.BAD_MESSAGE, f"{len(answers)} answers to {len(questions)} questions")
            return answers

        return await self._ask(path, questions, read_all, ANSWER_S)

    async def _ask(self, path: str, question: object, read: Callable[[bytes], T], patience_s: float) -> T:
        """The first answer that can be read; what is found at an address may be no lock server any more."""
        body = pack(question)
        addresses = self._addresses()
        first = self._preferred  # what others find out meanwhile must not make this one skip a server
        reason = "discovery knows of none"
        for turn in range(len(addresses)):
            number = (first + turn) % len(addresses)
            try:
                answer = read(await self._post(addresses[number] + path, body, patience_s))
                self._preferred = number
                return answer
            except (aiohttp.ClientError, TimeoutError, OSError, DecodeError) as problem:
                reason = f"{addresses[number]}: {str(problem) or type(problem).__name__}"
        raise Unavailable("lock server", reason)

    async def _post(self, url: str, body: bytes, patience_s: float) -> bytes:
        if self._session is None:
            raise Unavailable("lock server", "this client is not started, or stopped")
        async with asyncio.timeout(patience_s), self._session.post(url, data=body) as answer:
            if answer.status != 200:
                raise aiohttp.ClientError(f"status {answer.status}: {(await answer.text())[:200]}")
            return await answer.read()
