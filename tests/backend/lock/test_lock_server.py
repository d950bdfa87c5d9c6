"""Lock servers over real HTTP: who gets in, what shares a commit, and a client that finds one that answers."""

from __future__ import annotations

import asyncio
import contextlib
import io
import secrets
from collections.abc import AsyncIterator

import aiohttp
import pytest

from roost.backend.lock.client import LockClient
from roost.backend.lock.server import MAX_WAITING, TICK_S, LockServer
from roost.backend.store.port import Store
from roost.backend.store.sqlite.sqlite_store import SqliteStore
from roost.wire.auth import InternalSecret
from roost.wire.codec import pack
from roost.wire.errors import Unavailable
from roost.wire.messages.lock import (
    Acquire,
    Acquired,
    Answer,
    Decision,
    LeaseAnswer,
    LeaseRenewal,
    ReadParts,
    Verdict,
)
from tests.backend.store.contract_store import offer
from tests.clock import ManualClock

SECRET = InternalSecret("s3cret")
PATHS = ("/v1/decide", "/v1/beat", "/v1/part", "/v1/parts", "/v1/sweep")


class Watched(SqliteStore):
    """The real store, whose transactions are counted, can be held up, and can break."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.bug: Exception | None = None
        self.ticked = asyncio.Event()

    async def decide(self, decisions: list[Decision]) -> list[Answer]:
        self.batches.append(len(decisions))
        self.asked.set()
        await self.gate.wait()
        return await super().decide(decisions)

    async def tick(self) -> None:
        if self.bug is not None:
            bug, self.bug = self.bug, None
            raise bug
        await super().tick()
        self.ticked.set()


@contextlib.asynccontextmanager
async def serving(store: Store, clock: ManualClock | None = None, max_waiting: int = MAX_WAITING) -> AsyncIterator[str]:
    server = LockServer(store, SECRET, clock=clock or ManualClock(), max_waiting=max_waiting)
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()
        await server.stop()


@contextlib.asynccontextmanager
async def client(*addresses: str, secret: InternalSecret = SECRET) -> AsyncIterator[LockClient]:
    asking = LockClient(lambda: list(addresses), secret)
    await asking.start()
    try:
        yield asking
    finally:
        await asking.stop()


def acquire(number: int) -> Acquire:
    return Acquire("m1", number.to_bytes(16, "big"), 0, [offer(number.to_bytes(16, "big"))])


@contextlib.asynccontextmanager
async def listener(answer: bytes | None) -> AsyncIterator[str]:
    """Something else at a lock server's address: it says `answer`, or nothing at all."""
    writers = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if answer is not None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + answer)
                writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await server.wait_closed()


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_gets_in_without_the_secret_and_rubbish_is_answered(path: str) -> None:
    async with serving(SqliteStore(":memory:")) as url, aiohttp.ClientSession() as http:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            async with http.post(url + path, data=pack([]), headers=headers) as answer:
                assert answer.status == 401
        for body in (b"", b"\xc1", pack("text"), pack([[7]]), pack({"a": 1}), b"\x91" * 100_000):
            async with http.post(url + path, data=body, headers=SECRET.headers()) as answer:
                assert answer.status == 400
                assert await answer.text()
        async with http.get(url + path, headers=SECRET.headers()) as answer:
            assert answer.status == 405


async def test_an_enormous_body_is_refused() -> None:
    async with serving(SqliteStore(":memory:")) as url, aiohttp.ClientSession() as http:
        body = io.BytesIO(bytes(33 * 1024 * 1024))
        async with http.post(url + "/v1/part", data=body, headers=SECRET.headers()) as answer:
            assert answer.status == 413


async def test_p18_what_arrives_during_a_commit_shares_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.backend.lock.client.ANSWER_S", 30.0)  # this is not about how long an answer takes
    store = Watched()
    async with serving(store) as url, client(url) as asking:
        store.gate.clear()
        asks = [asyncio.create_task(asking.decide([acquire(number)])) for number in range(20)]
        await store.asked.wait()
        store.gate.set()
        for (answer,) in await asyncio.gather(*asks):
            assert isinstance(answer, Acquired)
        assert sum(store.batches) == 20
        assert len(store.batches) < 20


async def test_a_store_that_is_away_is_answered_503_and_may_come_back() -> None:
    store = Watched()
    async with serving(store) as url, client(url) as asking, aiohttp.ClientSession() as http:
        await store.stop()
        async with http.post(url + "/v1/beat", data=pack([]), headers=SECRET.headers()) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        with pytest.raises(Unavailable):
            await asking.decide([acquire(1)])
        await store.start()
        assert isinstance((await asking.decide([acquire(1)]))[0], Acquired)


@pytest.mark.parametrize("bug", [Unavailable("store", "away"), RuntimeError("a bug")])
async def test_whatever_a_tick_meets_the_next_one_comes(bug: Exception) -> None:
    store, clock = Watched(), ManualClock()
    async with serving(store, clock):
        await store.ticked.wait()
        store.bug = bug
        store.ticked.clear()
        while not store.ticked.is_set():
            await clock.advance(1.0)
        assert store.bug is None


async def test_p18_a_dead_server_or_one_that_hangs_or_is_something_else_is_passed_over() -> None:
    html = b"<html>not a lock server</html>"
    async with contextlib.AsyncExitStack() as stack:
        real = await stack.enter_async_context(serving(SqliteStore(":memory:")))
        silent = await stack.enter_async_context(listener(None))
        other = await stack.enter_async_context(listener(html))
        short = await stack.enter_async_context(listener(pack([])))
        for wrong in ("http://127.0.0.1:1", "http://no such host", silent, other, short):
            asking = await stack.enter_async_context(client(wrong, real))
            (answer,) = await asking.beat([LeaseRenewal(1, 1)])
            assert answer.verdict == "lost"
            assert await asking.read_parts(ReadParts(1, 1, 0, 4)) == []


@pytest.mark.parametrize("answer", [b"<html>", pack([]), pack([[]]), pack("yes")])
async def test_when_nobody_gives_an_answer_that_can_be_read_all_are_away(answer: bytes) -> None:
    async with listener(answer) as url, client(url) as asking:
        with pytest.raises(Unavailable):
            await asking.decide([acquire(1)])
        with pytest.raises(Unavailable):
            await asking.beat([LeaseRenewal(1, 1)])


async def test_without_addresses_without_the_secret_or_without_start_it_is_away() -> None:
    async with serving(SqliteStore(":memory:")) as url:
        async with client() as asking:
            with pytest.raises(Unavailable, match="discovery"):
                await asking.sweep("g1")
        async with client(url, secret=InternalSecret("old")) as asking:
            with pytest.raises(Unavailable, match="401"):
                await asking.sweep("g1")
        stopped = LockClient(lambda: [url], SECRET)
        with pytest.raises(Unavailable, match="not started"):
            await stopped.sweep("g1")
        await stopped.stop()


async def test_a_server_that_answered_is_asked_first_next_time() -> None:
    store = Watched()
    async with serving(store) as url, listener(None) as silent, client(silent, url) as asking:
        await asking.decide([acquire(1)])
        assert asking._preferred == 1


async def test_p18_one_question_fails_over_to_every_server_whatever_another_finds_out_meanwhile() -> None:
    """Two questions are under way when a server dies; the second to notice must not go back to it."""

    class Dying(LockClient):
        """Its first server hangs up when it is told to, its second answers."""

        def __init__(self) -> None:
            super().__init__(lambda: ["dying", "well"], SECRET)
            self.asked = asyncio.Semaphore(0)
            self.hang_up: list[asyncio.Event] = []

        async def _post(self, url: str, body: bytes, timeout_s: float) -> bytes:
            if url.startswith("dying") and len(self.hang_up) < 2:
                hang_up = asyncio.Event()
                self.hang_up.append(hang_up)
                self.asked.release()
                await hang_up.wait()
            if url.startswith("dying"):
                raise aiohttp.ServerDisconnectedError
            return pack([LeaseAnswer(Verdict.OK)])

    asking = Dying()
    questions = [asyncio.create_task(asking.beat([LeaseRenewal(number, 1)])) for number in (1, 2)]
    for number, question in enumerate(questions):
        while len(asking.hang_up) <= number:
            await asking.asked.acquire()
        asking.hang_up[number].set()
        assert (await question)[0].verdict is Verdict.OK


async def test_a_server_whose_port_is_taken_leaves_nothing_open() -> None:
    async with serving(SqliteStore(":memory:")) as url:
        store = SqliteStore(":memory:")
        second = LockServer(store, SECRET, port=int(url.rpartition(":")[2]), clock=ManualClock())
        with pytest.raises(OSError, match="cannot listen"):
            await second.start()
        await second.stop()
        with pytest.raises(Unavailable):
            await store.tick()


async def test_p6_while_too_many_jobs_wait_offers_are_left_and_grants_go_on() -> None:
    clock, counted = ManualClock(), asyncio.Event()

    class Counting(SqliteStore):
        async def waiting_count(self, most: int) -> int:
            count = await super().waiting_count(most)
            counted.set()
            return count

    async def look() -> None:
        counted.clear()
        await clock.advance(TICK_S)
        await counted.wait()

    async with serving(Counting(":memory:", clock=clock), clock, max_waiting=2) as url, client(url) as asking:
        await counted.wait()

        async def ask(number: int, slots: int = 0) -> Acquired:
            wanted = offer(number.to_bytes(16, "big"), run=bytes([number]))
            (answer,) = await asking.decide([Acquire("m1", secrets.token_bytes(16), slots, [wanted])])
            assert isinstance(answer, Acquired)
            return answer

        assert [(await ask(number)).is_full for number in (1, 2)] == [False, False]
        await look()
        left = await ask(3, slots=1)
        assert (left.is_full, len(left.grants)) == (True, 1)
        await look()
        taken = await ask(3, slots=2)
        assert (taken.is_full, len(taken.grants)) == (False, 2)
