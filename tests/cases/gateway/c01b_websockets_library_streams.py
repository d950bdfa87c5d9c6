import asyncio, websockets, hashlib
from common import *


async def main(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}") as w:  # compression is this library's default
        parts = [os.urandom(500).hex() for _ in range(4)]

        async def stream():
            for i, p in enumerate(parts):
                yield p
                await w.ping()  # as its own keepalive does each 20 s, or its pong to the gateway's ping

        try:
            await w.send(stream())
            got = await asyncio.wait_for(w.recv(), 3)
            return got == "".join(parts), "text answer " + str(len(got))
        except websockets.ConnectionClosed as x:
            return False, f"text: {x}"


async def binary(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}") as w:
        parts = [b"%d" % i * 300 for i in range(4)]

        async def stream():
            for p in parts:
                yield p
                await w.ping()

        await w.send(stream())
        got = await asyncio.wait_for(w.recv(), 3)
        return got == b"".join(parts), f"binary: {len(got)} bytes of {sum(map(len, parts))} came back, {got[:16]!r}"


with gateway("--compression") as g:
    a = asyncio.run(main(g.port))
    b = asyncio.run(binary(g.port))
    verdict(a[0] and b[0], (a, b))
