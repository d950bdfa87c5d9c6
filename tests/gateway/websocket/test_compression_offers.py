"""How a gateway process answers each offer of compression; the client compresses with zlib."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import zlib

import pytest

from roost.gateway.websocket.deflate import agree
from tests.gateway.harness import PATIENCE_S
from tests.gateway.process.test_command import running
from tests.gateway.websocket.bytes_of import cut, deflated, frame, in_fragments

pytestmark = pytest.mark.slow

WINDOWS = [None, *range(8, 16)]
REQUEST = (
    "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {}\r\n\r\n"
)
MESSAGE = random.Random(1).randbytes(1000).hex() + "é" * 3000 + random.Random(1).randbytes(1000).hex()
"""Repeats at a distance that only large windows cover."""


def offer(ours: int | None, theirs: str, flags: str = "") -> str:
    """Return an offer with these windows of the server and of the client."""
    return f"permessage-deflate{flags}{theirs}" + (f"; server_max_window_bits={ours}" if ours else "")


def answer(ours: int | None) -> str | None:
    """Return the answer required by RFC 7692 section 7.1; None when the offer must be declined."""
    if ours == 8:
        return None
    named = f"; server_max_window_bits={ours}" if ours else ""
    return f"permessage-deflate; server_no_context_takeover; client_no_context_takeover{named}"


@pytest.mark.parametrize("ours", WINDOWS)
def test_each_window_is_answered_by_name(ours: int | None) -> None:
    windows = ["", "; client_max_window_bits", *(f"; client_max_window_bits={bits}" for bits in range(8, 16))]
    flags = ["; server_no_context_takeover", "; client_no_context_takeover"]
    for theirs, chosen in itertools.product(windows, ["", *flags, "".join(flags)]):
        agreed = agree([offer(ours, theirs, chosen)])
        assert (agreed[1] if agreed else None) == answer(ours)
        assert agreed is None or agreed[0] == (ours or 15)


def inflated(body: bytes, bits: int) -> bytes:
    """Inflate byte by byte, because within one call zlib looks back further than its window."""
    decompressor = zlib.decompressobj(-bits)
    payload, rest = b"", body + b"\x00\x00\xff\xff"
    while rest:
        payload += decompressor.decompress(rest, 1)
        rest = decompressor.unconsumed_tail
    return payload + decompressor.flush()


async def next_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return first byte and payload of the gateway's next frame that is not a ping."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            first, short = await reader.readexactly(2)
            size = short if short < 126 else int.from_bytes(await reader.readexactly(2 if short == 126 else 8), "big")
            payload = await reader.readexactly(size)
            if (first, payload) != (0x89, b""):
                return first, payload


@pytest.mark.parametrize("without_compiled", ["", "1"], ids=["compiled", "python"])
async def test_messages_go_both_ways_under_each_window_with_pings_between_fragments(without_compiled: str) -> None:
    async with running("--compression", "--compress-from-bytes", "1", ROOST_NO_EXTENSIONS=without_compiled) as gateway:
        for ours, theirs in itertools.product(WINDOWS, (None, 9, 12, 15)):
            named = f"; client_max_window_bits={theirs}" if theirs else ""
            await talk(gateway.port, ours, offer(ours, named), theirs or 15)


async def talk(port: int, ours: int | None, offered: str, client_bits: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(REQUEST.format(offered).encode())
        async with asyncio.timeout(PATIENCE_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        said = re.search("Sec-WebSocket-Extensions: (.*)\r\n", head)
        assert (said[1] if said else None) == answer(ours)
        await exchange(reader, writer, client_bits if said else 0, ours or 15)
        writer.write(frame(8, b"\x03\xe8"))
        assert (await next_frame(reader))[0] == 0x88
    finally:
        writer.close()
        await writer.wait_closed()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client_bits: int, server_bits: int
) -> None:
    """Send messages in fragments and whole, and check their echoes; without compression if `client_bits` is 0."""
    payload, rsv = MESSAGE.encode(), 4 if client_bits else 0
    body = deflated([payload], compressor=(-1, client_bits, 8, 0)) if client_bits else payload
    for number in range(2):
        for piece in in_fragments(1, cut(body, [1 + number, len(body) // 2, len(body)]), rsv):
            writer.write(frame(9, b"before") + piece)
            assert await next_frame(reader) == (0x8A, b"before")  # so it has been read
        writer.write(frame(1, body, rsv=rsv))
        for _ in range(2):
            first, echo = await next_frame(reader)
            assert first == (0xC1 if client_bits else 0x81)
            assert (inflated(echo, server_bits) if client_bits else echo) == payload
