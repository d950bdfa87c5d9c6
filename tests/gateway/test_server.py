"""One gateway over real sockets, as seen by clients and by the application."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Iterator

import pytest
from wsproto.events import CloseConnection, Pong

from roost.gateway.api import Peer, Refusal, Request
from roost.gateway.io.reader import FrameReader
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.codes import APPLICATION_ERROR, NORMAL, REPLACED
from roost.wire.tokens import Keyring, Ticket
from tests.gateway.harness import Client, GatewayFixture, Recorder, until
from tests.gateway.websocket.bytes_of import close, frame, text


async def test_messages_go_both_ways(gateways: GatewayFixture) -> None:
    app = Recorder()
    client = await gateways.open(await gateways.serve(app))
    for message in ("hello", "é" * 300, b"", b"\x00" * 60_000):
        await client.say(message)
        assert await client.hear() == message
    assert [entry[0] for entry in app.log] == ["open", *["message"] * 4]


async def test_a_subprotocol_that_the_application_names_is_chosen(gateways: GatewayFixture) -> None:
    server = await gateways.serve()
    chosen = await gateways.open(server, subprotocols=("other", "roost.v1"))
    none = await gateways.open(server, subprotocols=("other",))
    assert chosen.accepted is not None
    assert chosen.accepted.subprotocol == "roost.v1"
    assert none.accepted is not None
    assert none.accepted.subprotocol is None


async def test_bytes_that_follow_the_request_are_not_lost(gateways: GatewayFixture) -> None:
    client = await gateways.connect(await gateways.serve())
    await client.write(client.upgrade_bytes() + text("early") + frame(1, b"in ", fin=False))
    await client.event()
    assert await client.hear() == "early"
    await client.write(frame(0, b"pieces"))
    assert await client.hear() == "in pieces"


async def test_a_request_that_comes_byte_by_byte_is_accepted(gateways: GatewayFixture) -> None:
    client = await gateways.connect(await gateways.serve())
    for byte in client.upgrade_bytes():
        await client.write(bytes((byte,)))
    await client.event()
    await client.say("hi")
    assert await client.hear() == "hi"


async def test_pings_are_answered_with_their_payload_between_fragments_too(gateways: GatewayFixture) -> None:
    client = await gateways.open(await gateways.serve())
    await client.write(frame(1, b"a", fin=False) + frame(9, b"are you there"))
    event = await client.event()
    assert isinstance(event, Pong)
    assert event.payload == b"are you there"
    await client.write(frame(0, b"b"))
    assert await client.hear() == "ab"


async def test_the_application_hears_the_code_of_the_peer(gateways: GatewayFixture) -> None:
    app = Recorder()
    client = await gateways.open(await gateways.serve(app))
    await client.send(CloseConnection(code=4321, reason="enough"))
    assert await client.closed() == (4321, "enough")
    await until(lambda: app.log[-1] == ("close", app.peers[0], 4321, "enough"))


async def test_a_close_frame_without_a_code_is_answered_with_one_without(gateways: GatewayFixture) -> None:
    app = Recorder()
    client = await gateways.open(await gateways.serve(app))
    await client.write(frame(8, b""))
    assert await client.read_all() == b"\x88\x00"
    await until(lambda: app.closes() == [1005])


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(1, b"\xff\xfe"), 1007),
        (frame(3, b"x"), 1002),
        (frame(1, b"x", mask=None), 1002),
        (frame(1, b"x", rsv=4), 1002),
        (frame(9, bytes(126)), 1002),
        (frame(9, b"", fin=False), 1002),
        (frame(0, b"x"), 1002),
        (frame(1, b"x", fin=False) + frame(1, b"y"), 1002),
        (frame(8, b"\x03"), 1002),
        (close(1006), 1002),
        (frame(2, b"x", form=126), 1002),
        (bytes((0x82, 0xFF)) + (1 << 40).to_bytes(8, "big"), None),
        (frame(2, bytes(2001)), 1009),
        (frame(2, bytes(1500), fin=False) + frame(0, bytes(501)), 1009),
    ],
)
async def test_a_violation_is_answered_with_a_code_that_says_what_was_wrong(
    gateways: GatewayFixture, bad: bytes, code: int | None
) -> None:
    app = Recorder()
    server = await gateways.serve(app, max_message_bytes=2000)
    client, bystander = await gateways.open(server), await gateways.open(server)
    await client.write(text("fine") + bad)
    assert await client.hear() == "fine"
    if code is None:
        await client.write(bytes(4))  # the mask completes a header that declares 1 TiB
        code = 1009
    number, reason = await client.closed()
    assert number == code
    assert reason
    await until(lambda: app.closes() == [code])
    await bystander.say("still here")
    assert await bystander.hear() == "still here"


async def test_the_close_frame_arrives_though_the_peer_goes_on_sending(gateways: GatewayFixture) -> None:
    client = await gateways.open(await gateways.serve(max_message_bytes=1000))
    await client.write(frame(2, bytes(50_000)) + frame(2, bytes(50_000)))
    assert (await client.closed())[0] == 1009


async def test_a_reset_in_mid_frame_is_a_loss_and_leaves_nothing(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app)
    client = await gateways.open(server)
    await client.write(frame(1, b"half a frame")[:-4])
    await until(lambda: len(server.writer.parsers) == 1)
    client.reset()
    await until(lambda: app.closes() == [1006])
    await until(lambda: server.connections == 0)
    assert not server.writer.parsers


async def test_half_a_close_is_a_loss(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app)
    client = await gateways.open(server)
    client.raw.shutdown(socket.SHUT_WR)
    await until(lambda: app.closes() == [1006])
    assert await client.read_all() == b""
    await until(lambda: server.connections == 0)


async def test_a_stale_handle_does_nothing(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app)
    first = await gateways.open(server)
    (old,) = app.peers
    first.reset()
    await until(lambda: server.connections == 0)
    second = await gateways.open(server)
    new = app.peers[1]
    assert new.fd == old.fd, "the kernel gave the same number again, or this test shows nothing"
    assert new != old
    assert not old.is_open
    assert old.send("to nobody") is False
    old.close(REPLACED)
    old.hold()
    assert new.send("to you")
    assert await second.hear() == "to you"


async def test_a_handle_is_recovered_from_its_two_integers(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app)
    client = await gateways.open(server)
    peer = app.peers[0]
    again = server.peer(peer.fd, peer.generation)
    assert again == peer
    assert {peer: 1}[again] == 1
    assert again.send("found")
    assert await client.hear() == "found"
    assert not server.peer(10**9, 1).send("nobody")


async def test_the_request_can_be_read_while_on_open_runs_and_not_later(gateways: GatewayFixture) -> None:
    app = Recorder()
    seen: list[Request | None] = []
    app.on["open"] = lambda peer: seen.append(peer.request)
    await gateways.open(await gateways.serve(app), target="/room/7?x=1")
    assert seen[0] is not None
    assert seen[0].path == "/room/7"
    assert seen[0].address == "127.0.0.1"
    assert app.peers[0].request is None


async def test_closing_is_never_told_from_within_the_call_that_closes(gateways: GatewayFixture) -> None:
    app = Recorder()
    order: list[str] = []

    def close_at_once(peer: Peer, _: object) -> None:
        peer.send("last words")
        peer.close(NORMAL)
        order.append("closed" if peer.is_open is False else "still open")
        assert peer.send("too late") is False

    app.on["message"] = close_at_once
    app.on["close"] = lambda *_: order.append("told")
    client = await gateways.open(await gateways.serve(app))
    await client.say("go")
    assert await client.hear() == "last words"
    assert await client.closed() == (1000, "bye")
    await until(lambda: order == ["closed", "told"])


@pytest.mark.parametrize("where", ["open", "message"])
async def test_an_application_that_raises_costs_one_connection_and_one_log_line(
    gateways: GatewayFixture, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Recorder()
    server = await gateways.serve(app)
    bystander = await gateways.open(server)

    def fail(*_: object) -> None:
        raise RuntimeError("a bug of the application")

    app.on[where] = fail
    client = await gateways.open(server)
    if where == "message":
        await client.say("go")
    assert (await client.closed())[0] == APPLICATION_ERROR.number
    assert [record.getMessage() for record in caplog.records] == ["application callback raised"]
    del app.on[where]
    await bystander.say("hi")
    assert await bystander.hear() == "hi"


async def test_an_application_that_raises_in_on_close_leaks_nothing(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app)
    app.on["close"] = lambda *_: 1 / 0  # type: ignore[assignment]
    (await gateways.open(server)).reset()
    await until(lambda: server.connections == 0)
    assert server.counters.application_errors == 1


async def test_a_bug_of_ours_costs_one_connection(
    gateways: GatewayFixture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = await gateways.serve()
    victim, bystander = await gateways.open(server), await gateways.open(server)
    receive = FrameReader.receive

    def fail(self: FrameReader, fd: int, data: bytes) -> None:
        if b"\xee" in data:
            raise RuntimeError("a bug in the gateway")
        receive(self, fd, data)

    monkeypatch.setattr(FrameReader, "receive", fail)
    await victim.write(b"\xee")
    assert await victim.read_all() == b""
    await bystander.say("hi")
    assert await bystander.hear() == "hi"
    assert [record.getMessage() for record in caplog.records] == ["internal error, connection aborted"]


async def test_a_request_in_pieces_is_acknowledged_at_once_and_a_whole_one_with_its_answer(
    gateways: GatewayFixture,
) -> None:
    """A client that writes in pieces without TCP_NODELAY sends the next piece only after an ACK of the previous one."""
    server = await gateways.serve()
    whole, cut = await gateways.connect(server), await gateways.connect(server)
    await whole.write(whole.upgrade_bytes())
    await whole.read()
    await cut.write(cut.upgrade_bytes()[:20])
    await until(lambda: len(server._handshakes._heads) == 1)
    fds = {"whole": next(server.peers()).fd, "cut": next(iter(server._handshakes._heads))}
    found = {}
    for name, fd in fds.items():
        with socket.socket(fileno=os.dup(fd)) as theirs:
            found[name] = theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
    assert found == {"whole": 0, "cut": 1}


async def refusal_of(client: Client) -> tuple[int, dict[str, str]]:
    head = (await client.read_all()).partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(head[0].split()[1]), dict(line.split(": ", 1) for line in head[1:])


async def test_the_application_may_refuse(gateways: GatewayFixture) -> None:
    app = Recorder()
    app.refusal = Refusal(401, "who are you")
    client = await gateways.connect(await gateways.serve(app))
    await client.write(client.upgrade_bytes("/private"))
    assert (await refusal_of(client))[0] == 401
    assert app.requests[0].path == "/private"
    assert app.log == []


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (b"rubbish\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"a" * 9000, 431),
    ],
)
async def test_what_is_no_upgrade_gets_an_http_answer(
    gateways: GatewayFixture, request_bytes: bytes, status: int
) -> None:
    app = Recorder()
    server = await gateways.serve(app)
    client = await gateways.connect(server)
    await client.write(request_bytes)
    assert (await refusal_of(client))[0] == status
    client.close()
    await until(lambda: server.connections == 0)
    assert app.log == []


async def test_a_full_gateway_says_so_and_when_to_come_back(gateways: GatewayFixture) -> None:
    server = await gateways.serve(max_connections=1, retry_after_s=7)
    first = await gateways.open(server)
    second = await gateways.connect(server)
    await second.write(second.upgrade_bytes())
    status, headers = await refusal_of(second)
    assert (status, headers["Retry-After"]) == (503, "7")
    first.close()
    await until(lambda: server.counters.open_now == 0)
    second.close()
    await until(lambda: server.connections == 0)
    await gateways.open(server)


async def test_descriptors_that_run_out_stop_accepting_and_nothing_else(
    gateways: GatewayFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.wire.listener.PAUSE_S", 0.05)
    server = await gateways.serve()
    client, late = await gateways.open(server), gateways.spare()
    with no_more_descriptors():
        await late.connect(server)
        await until(lambda: server.counters.accept_pauses > 0)
        await client.say("still served")
        assert await client.hear() == "still served"
    await late.upgrade()


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Make every open of another descriptor fail with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


KEYS = Keyring({"test": b"0123456789abcdef"})


def ticket(serial: bytes = b"one", gateway: str = "me", valid_s: int = 30) -> str:
    return "/?ticket=" + KEYS.sign_ticket(Ticket(int(SYSTEM_CLOCK.wall()) + valid_s, gateway, serial))


async def test_a_ticket_opens_the_door_once_and_is_reported(gateways: GatewayFixture) -> None:
    server = await gateways.serve(keyring=KEYS, require_ticket=True, incarnation="me")
    await gateways.open(server, target=ticket())
    again = await gateways.connect(server)
    await again.write(again.upgrade_bytes(ticket()))
    assert (await refusal_of(again))[0] == 403
    assert list(server.vitals().redeemed) == [b"one"]
    assert list(server.vitals().redeemed) == []


@pytest.mark.parametrize(
    "target",
    ["/", "/?ticket=", "/?ticket=x", ticket(gateway="other"), ticket(valid_s=-1)],
    ids=["none", "empty", "no ticket", "foreign", "expired"],
)
async def test_without_a_good_ticket_nobody_gets_in(gateways: GatewayFixture, target: str) -> None:
    server = await gateways.serve(keyring=KEYS, require_ticket=True, incarnation="me")
    client = await gateways.connect(server)
    await client.write(client.upgrade_bytes(target))
    assert (await refusal_of(client))[0] == 403


async def test_a_bad_ticket_is_refused_even_where_none_is_required(gateways: GatewayFixture) -> None:
    server = await gateways.serve(keyring=KEYS, incarnation="me")
    await gateways.open(server)
    client = await gateways.connect(server)
    await client.write(client.upgrade_bytes("/?ticket=forged"))
    assert (await refusal_of(client))[0] == 403


async def test_a_broadcast_is_encoded_once_and_reaches_every_peer_in_order(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app)
    clients = [await gateways.open(server) for _ in range(20)]
    clients[3].reset()
    for message in ("first", "second"):
        server.broadcast(server.encode(message), app.peers)
    for client in clients[:3] + clients[4:]:
        assert [await client.hear(), await client.hear()] == ["first", "second"]


async def test_stopping_tells_the_application_of_every_connection_and_twice_is_fine(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app)
    clients = [await gateways.open(server) for _ in range(3)]
    half_open = await gateways.connect(server)
    await half_open.write(b"GET / HT")
    await until(lambda: server.connections == 4)
    await server.stop()
    await server.stop()
    assert app.closes() == [1001] * 3
    assert app.log[-1] == ("stop",)
    for client in clients:
        assert (await client.closed())[0] == 1001


async def test_draining_sends_everybody_away_over_the_window_and_lets_nobody_in(gateways: GatewayFixture) -> None:
    app = Recorder()
    server = await gateways.serve(app, drain_s=5)
    clients = [await gateways.open(server) for _ in range(60)]
    greeting = await gateways.connect(server)
    await until(lambda: server.connections == 61)
    draining = asyncio.ensure_future(server.drain())
    codes = await asyncio.gather(*(client.closed() for client in clients))
    assert {code for code, _ in codes} == {1012}
    await greeting.write(greeting.upgrade_bytes())
    assert (await refusal_of(greeting))[0] == 503
    greeting.close()
    with pytest.raises(ConnectionRefusedError):
        await gateways.connect(server)
    await draining
    assert server.connections == 0


async def test_a_drain_without_connections_ends_at_once(gateways: GatewayFixture) -> None:
    server = await gateways.serve(drain_s=60)
    await asyncio.wait_for(server.drain(), 5)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_it_listens_on_several_addresses_of_both_families_on_one_port(gateways: GatewayFixture) -> None:
    server = await gateways.serve(host="127.0.0.1, ::1")
    assert server.addresses == [f"127.0.0.1:{server.port}", f"[::1]:{server.port}"]
    with socket.socket(socket.AF_INET6) as raw:
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("::1", server.port))
        client = Client(raw)
        await client.upgrade()
        await client.say("over IPv6")
        assert await client.hear() == "over IPv6"


async def test_an_address_of_another_machine_cannot_be_listened_on(gateways: GatewayFixture) -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0"):
        await gateways.serve(host="192.0.2.1")
