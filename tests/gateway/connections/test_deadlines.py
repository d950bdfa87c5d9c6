"""Deadlines and slow peers over real sockets, with a clock that the test advances."""

from __future__ import annotations

import pytest
from wsproto.events import Ping

from roost.gateway.connections.wheel import TICK_S
from roost.gateway.deadlines import TIDY_S
from roost.gateway.server import Server
from roost.wire.codes import IDLE, NO_PONG, SLOW
from tests.gateway.harness import Client, GatewayFixture, Recorder, TickClock, pass_time, until
from tests.gateway.websocket.bytes_of import text


@pytest.fixture
def clock() -> TickClock:
    return TickClock()


async def answer_next_ping(server: Server, clock: TickClock, client: Client) -> float:
    """Advance time to the next ping, and answer it; return the seconds that passed."""
    pings, since = server.counters.pings, clock.now_s
    while server.counters.pings == pings:
        await pass_time(server, clock, TICK_S)
    ping = await client.event()
    assert isinstance(ping, Ping)
    before = server.counters.bytes_in
    await client.send(ping.response())
    await until(lambda: server.counters.bytes_in > before)
    return clock.now_s - since


async def test_a_silent_client_is_pinged_every_25_seconds_and_stays_when_it_answers(
    gateways: GatewayFixture, clock: TickClock
) -> None:
    app = Recorder()
    server = await gateways.serve(app, clock=clock)
    client = await gateways.open(server)
    pauses = [await answer_next_ping(server, clock, client) for _ in range(4)]
    assert 0 < pauses[0] <= 25.01
    assert pauses[1:] == pytest.approx([25] * 3, abs=0.01)
    assert app.closes() == []


async def test_a_client_that_does_not_answer_a_ping_is_closed(gateways: GatewayFixture, clock: TickClock) -> None:
    app = Recorder()
    server = await gateways.serve(app, clock=clock)
    client = await gateways.open(server)
    await pass_time(server, clock, 36)
    assert (await client.closed())[0] == NO_PONG.number
    await until(lambda: app.closes() == [NO_PONG.number])


async def test_a_client_without_messages_is_sent_home_unless_it_is_held(
    gateways: GatewayFixture, clock: TickClock
) -> None:
    app = Recorder()
    server = await gateways.serve(app, clock=clock, idle_close_s=60, ping_after_s=0)
    idle, held = await gateways.open(server), await gateways.open(server)
    app.peers[1].hold()
    await pass_time(server, clock, 59.5)
    assert app.closes() == []
    await pass_time(server, clock, 1)
    assert (await idle.closed())[0] == IDLE.number
    await pass_time(server, clock, 600)
    assert app.peers[1].is_open
    app.peers[1].release()
    await pass_time(server, clock, 59)
    assert app.peers[1].is_open
    await pass_time(server, clock, 2)
    assert (await held.closed())[0] == IDLE.number


async def test_pongs_do_not_make_a_client_busy_but_messages_do(gateways: GatewayFixture, clock: TickClock) -> None:
    app = Recorder()
    server = await gateways.serve(app, clock=clock, idle_close_s=60)
    client = await gateways.open(server)
    while clock.now_s < 1040:
        await answer_next_ping(server, clock, client)
    await client.say("hi")
    assert await client.hear() == "hi"
    spoke_s = clock.now_s
    while clock.now_s < spoke_s + 30:
        await answer_next_ping(server, clock, client)
    await pass_time(server, clock, spoke_s + 59.5 - clock.now_s)
    assert app.peers[0].is_open
    await pass_time(server, clock, 1)
    await until(lambda: app.closes() == [IDLE.number])


async def test_an_unfinished_handshake_ends_in_time(gateways: GatewayFixture, clock: TickClock) -> None:
    server = await gateways.serve(clock=clock)
    silent, slow = await gateways.connect(server), await gateways.connect(server)
    await slow.write(b"GET / HTTP/1.1\r\n")
    await until(lambda: server.counters.bytes_in > 0)
    await until(lambda: server.connections == 2)
    await pass_time(server, clock, 4.8)
    assert server.connections == 2
    await pass_time(server, clock, 0.4)
    assert await silent.read_all() == b""
    assert (await slow.read_all()).startswith(b"HTTP/1.1 408 ")
    slow.close()
    await until(lambda: server.connections == 0)


async def test_a_peer_that_never_answers_our_close_is_cut_off(gateways: GatewayFixture, clock: TickClock) -> None:
    app = Recorder()
    server = await gateways.serve(app, clock=clock)
    await gateways.open(server)
    app.peers[0].close()
    await until(lambda: app.closes() == [1000])
    await pass_time(server, clock, 4.8)
    assert server.connections == 1
    await pass_time(server, clock, 0.4)
    await until(lambda: server.connections == 0)


async def test_a_peer_that_never_closes_its_side_is_cut_off(gateways: GatewayFixture, clock: TickClock) -> None:
    server = await gateways.serve(clock=clock)
    client = await gateways.open(server)
    await client.write(b"\x83\x80abcd")
    assert (await client.read_all()).startswith(b"\x88")
    await client.write(b"more and more")
    assert server.connections == 1
    await pass_time(server, clock, 5.2)
    await until(lambda: server.connections == 0)


async def test_time_in_which_the_process_stood_still_is_not_held_against_peers(
    gateways: GatewayFixture, clock: TickClock
) -> None:
    app = Recorder()
    server = await gateways.serve(app, clock=clock)
    await gateways.open(server)
    clock.now_s += 3600
    server.ticker.tick()
    assert app.closes() == []
    assert server.ticker.lag_ms > 3_000_000


def flood(app: Recorder, count: int, size: int = 10_000) -> int:
    """Send `count` messages to the first peer; return how many were accepted."""
    return sum(app.peers[0].send(b"x" * size) for _ in range(count))


async def test_a_slow_reader_gets_all_when_it_reads_again(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app, max_outbox_bytes=10**7)
    client = await gateways.open(server, receive_buffer=4096)
    total = 0
    while not app.peers[0].unsent_bytes:
        total += flood(app, 10)
    total += flood(app, 10)
    assert "drained" not in {entry[0] for entry in app.log}
    for _ in range(total):
        assert await client.hear() == b"x" * 10_000
    await until(lambda: app.log[-1] == ("drained", app.peers[0]))
    assert app.peers[0].unsent_bytes == 0
    await client.say("and on")
    assert await client.hear() == "and on"


async def test_a_peer_that_never_reads_is_closed_as_slow_and_told_so_when_it_reads(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app, max_outbox_bytes=100_000)
    client = await gateways.open(server, receive_buffer=4096)
    while flood(app, 1):
        pass
    assert app.peers[0].is_open is False
    assert server.counters.slow_closes == 1
    await until(lambda: app.closes() == [SLOW.number])
    assert (await client.closed())[0] == SLOW.number


async def test_bytes_that_wait_too_long_close_a_peer_as_slow(gateways: GatewayFixture, clock: TickClock) -> None:
    app = Recorder()
    server = await gateways.serve(app, clock=clock, max_outbox_bytes=10**7, max_outbox_age_s=60)
    await gateways.open(server, receive_buffer=4096)
    while not app.peers[0].unsent_bytes:
        flood(app, 1)
    await pass_time(server, clock, 59)
    assert app.peers[0].is_open
    await pass_time(server, clock, 2)
    await until(lambda: app.closes() == [SLOW.number])
    await pass_time(server, clock, 6)
    await until(lambda: server.connections == 0)


async def test_who_does_not_read_is_not_listened_to_until_it_reads(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app, max_outbox_bytes=10**7)
    client = await gateways.open(server, receive_buffer=4096)
    while app.peers[0].unsent_bytes <= 100_000:
        flood(app, 1)
    await client.write(text("a request"))
    other = await gateways.open(server)
    await other.say("others are heard")
    assert await other.hear() == "others are heard"
    assert (app.peers[0], "a request") not in [entry[1:] for entry in app.log]
    while await client.hear() != "a request":
        pass


async def test_the_outbox_of_a_peer_that_left_is_dropped(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app, max_outbox_bytes=10**7)
    client = await gateways.open(server, receive_buffer=4096)
    while not app.peers[0].unsent_bytes:
        flood(app, 1)
    client.reset()
    await until(lambda: server.connections == 0)
    assert not server.writer.outboxes


async def test_memory_of_a_crowd_that_has_left_is_given_back_and_who_is_there_notices_nothing(
    gateways: GatewayFixture, clock: TickClock
) -> None:
    server = await gateways.serve(clock=clock)
    writer, cells = server.writer, server.cells(8)
    client = await gateways.open(server)
    crowd = range(5_000, 9_000)  # descriptors that no socket of this test uses
    for fd in crowd:
        writer.slots.allocate(fd, writer.wheel.now)
        writer.wheel.put(fd, writer.wheel.now + 1)
        cells[fd] = b"whatever"
    for fd in crowd:
        writer.wheel.remove(fd)
        writer.slots.free(fd)
    await pass_time(server, clock, TIDY_S)
    assert len(writer.slots) == len(writer.slots.last_read) == len(writer.slots.pinged) == 1024
    assert len(writer.wheel.due) == 1024
    assert cells[5_000] == bytes(8)
    await client.say("still there")
    assert await client.hear() == "still there"
