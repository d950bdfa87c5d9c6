"""Small messages that an application sends during a turn are held back until its end, without visible effect."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from wsproto.events import BytesMessage, CloseConnection

from roost.gateway.api import Message, Peer
from roost.gateway.io.batch import Frames, Written
from roost.gateway.io.poller import READ
from roost.gateway.websocket.frames import encode
from roost.wire.codes import APPLICATION_ERROR, NORMAL, SLOW
from tests.gateway.harness import GatewayFixture, Recorder, TickClock, pass_time, until
from tests.gateway.websocket.bytes_of import frame, text


class Answering(Recorder):
    """Runs a function of the test for each message."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def on_message(self, peer: Peer, message: Message) -> None:
        self.answer(self, peer, message)


async def test_messages_in_one_read_are_answered_in_order_and_in_one_write(gateways: GatewayFixture) -> None:
    server = await gateways.serve()
    client = await gateways.open(server)
    before = server.counters.bytes_out
    written: list[bytes] = []
    really = server.writer._write_frames

    def write_frames(frames: Frames) -> Written:
        pairs = list(frames)
        written.extend(data for _, data in pairs)
        return really(pairs)

    server.writer._write_frames = write_frames
    await client.write(b"".join(text(f"message {number}") for number in range(30)))
    assert [await client.hear() for _ in range(30)] == [f"message {number}" for number in range(30)]
    assert len(written) == 1
    assert server.counters.bytes_out - before == len(written[0])


async def test_a_greeting_shares_the_write_of_the_handshakes_answer(gateways: GatewayFixture) -> None:
    app = Recorder()
    app.on["open"] = lambda peer: peer.send("welcome")
    server = await gateways.serve(app)
    client = await gateways.connect(server)
    await client.write(client.upgrade_bytes())
    assert (await client.read()).endswith(b"\r\n\r\n" + encode("welcome"))


async def test_small_and_large_messages_frames_and_the_close_keep_their_order(gateways: GatewayFixture) -> None:
    large = "x" * 300_000

    def answer(app: Recorder, peer: Peer, message: Message) -> None:
        assert app.gateway is not None
        assert peer.send("small")
        assert peer.send(large)
        assert peer.send("after")
        assert peer.send_frame(app.gateway.encode("frame"))
        assert peer.send("last")
        peer.close(NORMAL)
        assert not peer.send("too late")

    server = await gateways.serve(Answering(answer))
    client = await gateways.open(server)
    await client.say("go")
    assert [await client.hear() for _ in range(5)] == ["small", large, "after", "frame", "last"]
    assert (await client.closed())[0] == NORMAL.number


async def test_a_pong_does_not_overtake_the_answer_before_it(gateways: GatewayFixture) -> None:
    server = await gateways.serve()
    client = await gateways.open(server)
    await client.write(text("first") + frame(9, b"ping") + text("second"))
    expected = encode("first") + b"\x8a\x04ping" + encode("second")
    data = b""
    while len(data) < len(expected):
        data += await client.read()
    assert data == expected


async def test_what_was_sent_before_the_application_failed_arrives(gateways: GatewayFixture) -> None:
    def answer(app: Recorder, peer: Peer, message: Message) -> None:
        peer.send("almost")
        raise ValueError("a bug of the application")

    server = await gateways.serve(Answering(answer))
    client = await gateways.open(server)
    await client.say("go")
    assert await client.hear() == "almost"
    assert (await client.closed())[0] == APPLICATION_ERROR.number


async def test_a_message_to_a_peer_that_ends_in_the_same_turn_is_still_written(gateways: GatewayFixture) -> None:
    def answer(app: Recorder, peer: Peer, message: Message) -> None:
        for other in app.peers:
            other.send(message)

    app = Answering(answer)
    server = await gateways.serve(app)
    speaker, leaver = await gateways.open(server), await gateways.open(server)
    speaker.raw.send(text("goodbye"))  # both are ready before the gateway polls
    leaver.raw.shutdown(socket.SHUT_WR)
    assert await leaver.read_all() == encode("goodbye")
    assert await speaker.hear() == "goodbye"
    await until(lambda: len(app.closes()) == 1)


async def test_a_peer_that_does_not_read_gets_what_fits_and_the_rest_later(gateways: GatewayFixture) -> None:
    def answer(app: Recorder, peer: Peer, message: Message) -> None:
        assert peer.send(str(message) + " " + "x" * 10_000)

    server = await gateways.serve(Answering(answer))
    client = await gateways.open(server, receive_buffer=4096)
    while not server.writer.outboxes:
        said = server.counters.messages_in
        await client.say(str(said))
        await until(lambda said=said: server.counters.messages_in > said)  # type: ignore[misc]
    count = server.counters.messages_in
    heard = [await client.hear() for _ in range(count)]
    assert [int(str(message).split()[0]) for message in heard] == list(range(count))


async def test_what_waits_for_the_end_of_the_turn_counts_as_unsent(gateways: GatewayFixture) -> None:
    unsent: list[int] = []

    def answer(app: Recorder, peer: Peer, message: Message) -> None:
        peer.send("four")
        unsent.append(peer.unsent_bytes)

    app = Answering(answer)
    server = await gateways.serve(app)
    client = await gateways.open(server)
    await client.say("go")
    assert await client.hear() == "four"
    await until(lambda: app.peers[0].unsent_bytes == 0)
    assert unsent == [len(encode("four"))]


async def test_a_handle_that_an_application_keeps_names_its_own_peer_for_ever(gateways: GatewayFixture) -> None:
    """A Peer object is reused for the next message, of another peer, only if nobody has kept it."""
    kept: dict[Message, Peer] = {}

    def keep_every_other(app: Recorder, peer: Peer, message: Message) -> None:
        if message != "not kept":
            kept[message] = peer

    server = await gateways.serve(Answering(keep_every_other))
    clients = [await gateways.open(server) for _ in range(6)]
    turn = [(peer_fd, READ) for peer_fd in sorted(peer.fd for peer in server.peers())]
    for number, client in enumerate(clients):
        client.raw.send(text("not kept" if number % 2 else f"from {number}"))
    server._reader.serve(turn)
    assert server.counters.messages_in == 6, "all were read in one batch"
    for number in (0, 2, 4):
        assert kept[f"from {number}"].send(f"to {number}")
        assert await clients[number].hear() == f"to {number}"


@pytest.mark.parametrize("problem", [ValueError, asyncio.CancelledError])
@pytest.mark.parametrize("is_abort_broken", [False, True])
async def test_whatever_one_of_a_turn_leads_to_the_others_are_told_what_was_read_of_them(
    gateways: GatewayFixture, monkeypatch: pytest.MonkeyPatch, problem: type[BaseException], is_abort_broken: bool
) -> None:
    def answer(app: Recorder, peer: Peer, message: Message) -> None:
        if message == "fails":
            raise problem
        peer.send(message)

    server = await gateways.serve(Answering(answer))
    clients = [await gateways.open(server) for _ in range(4)]
    turn = [(fd, READ) for fd in sorted(peer.fd for peer in server.peers())]
    if is_abort_broken:
        start_close = server.writer.start_close
        monkeypatch.setattr(server.writer, "start_close", lambda *args: 1 // (start_close(*args) or 0))
        monkeypatch.setattr(server.writer, "abort", lambda fd: 1 // 0)
    for client, message in zip(
        clients, (text("first"), text("fails"), text("a") + text("b"), text("last")), strict=True
    ):
        client.raw.send(message)
    server._reader.serve(turn)
    monkeypatch.undo()
    assert [await clients[0].hear(), await clients[2].hear(), await clients[2].hear()] == ["first", "a", "b"]
    assert await clients[3].hear() == "last"
    assert (await clients[1].closed())[0] == APPLICATION_ERROR.number


async def test_when_nobody_knows_what_was_read_all_of_the_turn_are_dropped(
    gateways: GatewayFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await gateways.serve()
    clients = [await gateways.open(server) for _ in range(3)]
    turn = [(fd, READ) for fd in sorted(peer.fd for peer in server.peers())]
    with monkeypatch.context() as broken:
        broken.setattr(server._reader, "_read_messages", lambda *_: 1 // 0)
        server._reader.serve(turn[:2])
    assert await clients[0].read_all() == await clients[1].read_all() == b""
    await clients[2].say("still here")
    assert await clients[2].hear() == "still here"


@pytest.mark.parametrize("way", ["send", "send_frame", "broadcast"])
@pytest.mark.parametrize("limit", [{"max_outbox_bytes": 100_000}, {"max_outbox_age_s": 1.0}])
async def test_a_frame_that_was_cut_is_finished_before_a_slow_peer_is_told_to_come_back(
    gateways: GatewayFixture, way: str, limit: dict[str, Any]
) -> None:
    """A frame of which the kernel took a part must be completed: a close frame inside it would be lost."""
    clock = TickClock()
    large = bytes(15_000)

    def answer(app: Recorder, peer: Peer, message: Message) -> None:
        assert app.gateway is not None
        slow, frame = app.peers[0], app.gateway.encode(large)
        if way == "broadcast":
            app.gateway.broadcast(frame, [slow])
        else:
            slow.send(large) if way == "send" else slow.send_frame(frame)
        peer.send("next")

    server = await gateways.serve(Answering(answer), clock=clock, **limit)
    slow, speaker = await gateways.open(server, receive_buffer=4096), await gateways.open(server)
    while not server.writer.outboxes or ("max_outbox_bytes" in limit and not server.counters.slow_closes):
        await speaker.say("go")
        assert await speaker.hear() == "next"
    while not server.counters.slow_closes:
        await pass_time(server, clock, 0.5)
    while isinstance(event := await slow.event(), BytesMessage):
        assert set(event.data) == {0}
    assert isinstance(event, CloseConnection)
    assert event.code == SLOW.number


async def test_what_waits_for_a_peer_that_is_gone_leaves_nothing_behind(gateways: GatewayFixture) -> None:
    """Over TLS, bytes may stay inside the transport; for a closed connection that must not create an outbox."""
    server = await gateways.serve()
    client = await gateways.open(server)
    fd = next(server.peers()).fd
    server.writer.cork()
    server.writer.write_corked(fd, encode("last words"))
    server.writer.abort(fd)
    server.writer._on_stuck(fd)
    server.writer.uncork()
    assert not server.writer.outboxes
    assert await client.hear() == "last words"
    assert await client.read() == b""


async def test_a_broadcast_that_fails_takes_no_other_with_it(
    gateways: GatewayFixture, caplog: pytest.LogCaptureFixture
) -> None:
    server = await gateways.serve()
    client = await gateways.open(server)
    peer = next(server.peers())
    server.broadcast(server.encode("one"), [peer, None, peer])  # type: ignore[list-item]
    server.broadcast(server.encode("two"), [peer])
    assert [await client.hear(), await client.hear()] == ["one", "two"]
    peer.send("three")
    assert await client.hear() == "three"
    assert [record.getMessage() for record in caplog.records] == ["broadcast failed"]
