from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import BytesMessage, TextMessage
from wsproto.events import Request as UpgradeRequest
from wsproto.extensions import PerMessageDeflate

from roost.gateway.websocket.deflate import Deflater, agree, inflate
from roost.gateway.websocket.frames import Kind, Parser, encode_deflated, plain
from tests.gateway.harness import GatewayFixture
from tests.gateway.websocket.bytes_of import cut, frame
from tests.gateway.websocket.test_frames import codes_only, receive


@pytest.mark.parametrize(
    ("offers", "bits"),
    [
        (["permessage-deflate"], 15),
        (["permessage-deflate; client_max_window_bits"], 15),
        (["permessage-deflate; client_max_window_bits=10; server_max_window_bits=9"], 9),
        (['permessage-deflate; server_max_window_bits="12"'], 12),
        (['permessage-deflate; server_max_window_bits="12'], None),
        (["permessage-deflate; server_max_window_bits=8", "permessage-deflate"], 15),
        (["x-webkit-deflate-frame", "permessage-deflate;server_no_context_takeover"], 15),
        (["permessage-deflate; server_max_window_bits=8"], None),
        (["permessage-deflate; server_max_window_bits"], None),
        (["permessage-deflate; server_max_window_bits=16"], None),
        (["permessage-deflate; server_max_window_bits=010"], None),
        (["permessage-deflate; client_max_window_bits=7"], None),
        (["permessage-deflate; server_no_context_takeover=1"], None),
        (["permessage-deflate; client_no_context_takeover; client_no_context_takeover"], None),
        (["permessage-deflate; something_else"], None),
        (["permessage-deflate; "], None),
        ([""], None),
        ([], None),
    ],
)
def test_offers_are_met_or_declined_as_the_rfc_says(offers: list[str], bits: int | None) -> None:
    agreed = agree(offers)
    assert (agreed[0] if agreed else None) == bits


@given(st.lists(st.one_of(st.binary(max_size=200), st.integers(0, 5000).map(bytes)), max_size=6), st.integers(9, 15))
def test_messages_of_one_compressor_are_inflated_each_on_its_own(payloads: list[bytes], bits: int) -> None:
    deflater = Deflater()
    for body, payload in [(deflater.deflate(payload, bits), payload) for payload in payloads]:
        assert zlib.decompressobj(-bits).decompress(body + b"\x00\x00\xff\xff") == payload
        assert inflate(body, len(payload)) == payload


class OutOfMemory:
    """A compressor that accepts a message and fails before it returns all of it."""

    def __init__(self) -> None:
        self._real = zlib.compressobj(wbits=-15)

    def compress(self, payload: bytes) -> bytes:
        return self._real.compress(payload)

    def flush(self, mode: int) -> bytes:
        raise MemoryError


def test_a_message_that_failed_is_no_part_of_the_next_one() -> None:
    deflater = Deflater()
    deflater._compressors[15] = OutOfMemory()
    with pytest.raises(MemoryError):
        deflater.deflate(b"for one client", 15)
    assert inflate(deflater.deflate(b"for another", 15), 100) == b"for another"


def test_a_bomb_is_not_inflated() -> None:
    bomb = Deflater().deflate(bytes(10**7), 15)
    assert len(bomb) < 20_000
    assert inflate(bomb, 10**6) is None
    parser = Parser(10**5, 10, deflated=True)
    events = list(parser.feed(frame(2, bomb, rsv=4)))
    assert codes_only(events) == [(Kind.VIOLATION, 1009)]


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x07"])
def test_damaged_compressed_text_is_refused(body: bytes) -> None:
    events = list(Parser(1000, 10, deflated=True).feed(frame(1, body, rsv=4)))
    assert codes_only(events) == [(Kind.VIOLATION, 1007)]
    assert plain(frame(1, body, rsv=4), 1000, deflated=True) == ([], 0)


@given(
    st.lists(st.tuples(st.booleans(), st.text(max_size=300)), max_size=5),
    st.lists(st.integers(0, 2000), max_size=5),
    st.integers(1, 400),
)
def test_every_split_of_compressed_messages_gives_the_same_messages(
    messages: list[tuple[bool, str]], cuts: list[int], max_bytes: int
) -> None:
    deflater = Deflater()
    stream = b"".join(
        frame(1, deflater.deflate(text.encode(), 15), rsv=4) if packed else frame(1, text.encode())
        for packed, text in messages
    )
    pieces = cut(stream, cuts)
    expected: list[tuple[int, object]] = []
    for _, text in messages:
        if len(text.encode()) > max_bytes:
            expected.append((Kind.VIOLATION, 1009))
            break
        expected.append((Kind.TEXT, text))
    assert codes_only(receive(pieces, max_bytes, deflated=True)) == expected
    assert codes_only(receive([stream], max_bytes, deflated=True)) == expected


def test_without_agreement_compressed_frames_are_a_violation() -> None:
    body = Deflater().deflate(b"hello", 15)
    assert codes_only(list(Parser(1000, 10).feed(frame(1, body, rsv=4)))) == [(Kind.VIOLATION, 1002)]


def test_a_wsproto_client_reads_what_is_compressed() -> None:
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate; server_no_context_takeover")
    client = Connection(ConnectionType.CLIENT, [extension])
    deflater = Deflater()
    for _ in range(3):
        client.receive_data(encode_deflated("hello " * 50, deflater, 15))
        assert "".join(event.data for event in client.events() if isinstance(event, TextMessage)) == "hello " * 50


@pytest.mark.parametrize("window", ["", "; server_max_window_bits=9"])
async def test_clients_with_and_without_compression_talk_to_one_gateway(gateways: GatewayFixture, window: str) -> None:
    server = await gateways.serve(compression=True, compress_from_bytes=100)
    client, plain_client = await gateways.connect(server), await gateways.open(server)
    extension = PerMessageDeflate(client_no_context_takeover=True)
    if window:
        extension.server_max_window_bits = 9
    client.ws = WSConnection(ConnectionType.CLIENT)
    await client.write(client.ws.send(UpgradeRequest(host="x", target="/", extensions=[extension])))
    await client.event()
    for message in ("short", "long " * 500, bytes(5000)):
        event: TextMessage | BytesMessage = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        await client.send(event)
        await plain_client.say(message)
        assert await client.hear() == message
        assert await plain_client.hear() == message
    assert server.counters.bytes_out < 7500 + 5000 + 1000, "the long ones came compressed"
    frame_once = server.encode("news " * 100)
    server.broadcast(frame_once, server.peers())
    assert await client.hear() == await plain_client.hear() == "news " * 100
