"""Echo with websockets' asyncio server on uvloop."""

# mypy: disable-error-code="import-not-found,misc"

import asyncio

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError


async def echo(connection: ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosedError:
        pass  # the load leaves without a close frame


async def main() -> None:
    async with serve(echo, "127.0.0.1", 0, compression=None) as server:
        print("listening", next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.Future()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
