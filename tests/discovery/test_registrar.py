"""The registrar against real replicas of discovery."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web

from roost.discovery.registrar import ComponentStatus, Registrar
from roost.discovery.server import Discovery
from roost.wire.auth import InternalSecret
from roost.wire.codec import pack
from roost.wire.messages.registry import Beat, BeatAnswer, ComponentKind, read_beat
from roost.wire.tokens import Keyring
from tests.discovery.conftest import SECRET

INTERVAL_S = 0.05


async def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.005)


async def until_listed(url: str, what: Callable[[list[dict[str, object]]], bool]) -> list[dict[str, object]]:
    """Return discovery's list of components once it is as wanted."""
    async with asyncio.timeout(10), aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{url}/v1/components") as response:
                components: list[dict[str, object]] = (await response.json())["components"]
            if what(components):
                return components
            await asyncio.sleep(0.005)


class RecordingReplica:
    """A replica that keeps each beat and answers as the test says, to see what really travels."""

    def __init__(self) -> None:
        self.beats: list[Beat] = []
        self.answers = True
        self.locks: list[str] = []
        self.delay_s = 0.0
        self._runner = web.AppRunner(web.Application(), access_log=None, shutdown_timeout=0.1)

    async def start(self) -> str:
        self._runner.app.router.add_post("/v1/beat", self._take)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        beat = read_beat(await request.read())
        self.beats.append(beat)
        await asyncio.sleep(self.delay_s)
        if not self.answers:
            return web.Response(status=500)
        return web.Response(body=pack(BeatAnswer(beat.sequence, INTERVAL_S, self.locks, workers=["w"])))


@pytest.fixture
async def replicas() -> AsyncIterator[list[RecordingReplica]]:
    made = [RecordingReplica(), RecordingReplica()]
    yield made
    for replica in made:
        await replica.stop()


def make_registrar(
    urls: list[str], snapshot: Callable[[], ComponentStatus], secret: InternalSecret = SECRET
) -> Registrar:
    return Registrar(
        urls, ComponentKind.GATEWAY, lambda: "ws://h:1", snapshot, secret=secret, interval_s=INTERVAL_S, version="9"
    )


async def test_started_means_known_to_every_replica(keyring: Keyring) -> None:
    pair = [Discovery("127.0.0.1", 0, keyring, secret=SECRET) for _ in range(2)]
    for replica in pair:
        await replica.start()
    registrar = make_registrar([replica.url for replica in pair], lambda: ComponentStatus(10, 4))
    await registrar.start()
    for replica in pair:
        (component,) = await until_listed(replica.url, bool)
        assert (component["incarnation"], component["load"]) == (registrar.incarnation, 4)
    await registrar.stop()
    for replica in pair:
        await replica.stop()


async def test_discovery_restarted_is_whole_again_after_one_beat(
    discovery: Discovery, caplog: pytest.LogCaptureFixture
) -> None:
    registrar = make_registrar([discovery.url], lambda: ComponentStatus(10, 4))
    await registrar.start()
    await discovery.stop()
    await until(lambda: not registrar.is_known())
    await discovery.start()
    await until(registrar.is_known)
    (component,) = await until_listed(discovery.url, bool)
    assert (component["address"], component["load"]) == ("ws://h:1", 4)
    await registrar.stop()
    said = [record.getMessage() for record in caplog.records if record.name == "roost.discovery.registrar"]
    assert said == ["discovery unreachable", "discovery reachable again"]


async def test_a_component_starts_without_discovery_and_is_known_when_it_comes(keyring: Keyring) -> None:
    discovery = Discovery("127.0.0.1", 0, keyring)
    await discovery.start()
    await discovery.stop()
    registrar = make_registrar([discovery.url], lambda: ComponentStatus(10, 4))
    await registrar.start()
    assert not registrar.is_known()
    await discovery.start()
    await until(registrar.is_known)
    await registrar.stop()
    await discovery.stop()


async def test_drain_tells_discovery_before_it_returns_and_beats_go_on(discovery: Discovery) -> None:
    registrar = make_registrar([discovery.url], lambda: ComponentStatus(10, 4))
    await registrar.start()
    await registrar.drain()
    async with aiohttp.ClientSession(discovery.url) as http, http.get("/v1/gateway") as response:
        assert response.status == 503
    assert (await until_listed(discovery.url, bool))[0]["draining"] is True
    await registrar.stop()


async def test_p31_redeemed_tickets_are_repeated_to_each_replica_until_it_acknowledges(
    replicas: list[RecordingReplica],
) -> None:
    deaf, fine = replicas
    deaf.answers = False
    news = [[b"t1"], [b"t2"]]
    registrar = make_registrar(
        [await deaf.start(), await fine.start()], lambda: ComponentStatus(10, 4, redeemed=news.pop(0) if news else [])
    )
    await registrar.start()
    await until(lambda: len(deaf.beats) >= 4 and len(fine.beats) >= 4)
    deaf.answers = True
    heard = len(deaf.beats)
    await until(lambda: len(deaf.beats) >= heard + 3)
    await registrar.stop()
    assert [beat.redeemed for beat in fine.beats[:4]] == [[b"t1"], [b"t2"], [], []]
    assert [beat.redeemed for beat in deaf.beats[:3]] == [[b"t1"], [b"t1", b"t2"], [b"t1", b"t2"]]
    assert deaf.beats[-1].redeemed == []


async def test_beats_carry_one_incarnation_a_growing_sequence_and_one_snapshot_for_all(
    replicas: list[RecordingReplica],
) -> None:
    loads = iter(range(1_000_000))
    registrar = make_registrar(
        [await replica.start() for replica in replicas], lambda: ComponentStatus(10, next(loads))
    )
    await registrar.start()
    await until(lambda: all(len(replica.beats) >= 3 for replica in replicas))
    await registrar.stop()
    for replica in replicas:
        assert {beat.incarnation for beat in replica.beats} == {registrar.incarnation}
        assert [(beat.sequence, beat.load) for beat in replica.beats[:3]] == [(1, 0), (2, 1), (3, 2)]


async def test_p31_lock_servers_are_kept_while_discovery_is_away(replicas: list[RecordingReplica]) -> None:
    one, two = replicas
    one.locks, two.locks = ["http://b"], ["http://a", "http://b"]
    registrar = make_registrar([await one.start(), await two.start()], lambda: ComponentStatus(10, 4))
    assert registrar.locks() == []
    await registrar.start()
    assert registrar.locks() == ["http://a", "http://b"]
    assert registrar.workers() == ["w"]
    for replica in replicas:
        await replica.stop()
    await until(lambda: not registrar.is_known())
    assert registrar.locks() == ["http://a", "http://b"]
    await registrar.stop()


async def test_a_beat_that_waits_at_a_crowded_door_keeps_its_place_and_others_are_not_held_up(
    replicas: list[RecordingReplica],
) -> None:
    """A replica that takes longer than the interval hears of it in the end; the other has heard of every round."""
    slow, quick = replicas
    slow.delay_s = 3.0
    registrar = make_registrar([await slow.start(), await quick.start()], lambda: ComponentStatus(1, 0))
    await registrar.start()
    try:
        await until(registrar.is_known)
        slow.locks = ["http://lock"]
        await until(lambda: registrar.locks() == ["http://lock"])
        assert len(slow.beats) <= 2
        assert len(quick.beats) > len(slow.beats) + 1
        slow.delay_s = 0.0
        await until(lambda: len(slow.beats) > 10)
    finally:
        await registrar.stop()


async def test_a_drain_is_told_although_a_beat_from_before_is_on_its_way(replicas: list[RecordingReplica]) -> None:
    replica = replicas[0]
    replica.delay_s = 0.2
    registrar = make_registrar([await replica.start()], lambda: ComponentStatus(1, 0))
    await registrar.start()
    try:
        count = len(replica.beats)
        await until(lambda: len(replica.beats) > count)
        await registrar.drain()
        assert replica.beats[-1].draining
    finally:
        await registrar.stop()


async def test_a_wrong_secret_leaves_the_component_unknown_and_says_why(
    discovery: Discovery, caplog: pytest.LogCaptureFixture
) -> None:
    registrar = make_registrar([discovery.url], lambda: ComponentStatus(10, 4), secret=InternalSecret("another"))
    await registrar.start()
    assert not registrar.is_known()
    await registrar.stop()
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "set ROOST_SECRET" in str(vars(record)["reason"])


async def test_a_snapshot_that_fails_now_and_then_does_not_end_the_beats(
    discovery: Discovery, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def snapshot() -> ComponentStatus:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ZeroDivisionError
        return ComponentStatus(10, calls)

    registrar = make_registrar([discovery.url], snapshot)
    await registrar.start()
    await until_listed(discovery.url, lambda components: components[0]["load"] == 3)
    await registrar.stop()
    assert [record.getMessage() for record in caplog.records] == ["heartbeat failed"]


async def test_without_replicas_and_stopped_twice_it_does_nothing() -> None:
    registrar = make_registrar([], lambda: ComponentStatus(1, 1))
    await registrar.start()
    await registrar.drain()
    await registrar.stop()
    await registrar.stop()
    assert registrar.locks() == []
