"""Echo with wsproto in an asyncio protocol on uvloop."""

import asyncio
from typing import cast

import uvloop
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.ws = WSConnection(ConnectionType.SERVER)

    def data_received(self, data: bytes) -> None:
        self.ws.receive_data(data)
        for event in self.ws.events():
            if isinstance(event, Request):
                self.transport.write(self.ws.send(AcceptConnection()))
            elif isinstance(event, TextMessage):
                self.transport.write(
                    self.ws.send(TextMessage(data=event.data, message_finished=event.message_finished))
                )
            elif isinstance(event, BytesMessage):
                self.transport.write(
                    self.ws.send(BytesMessage(data=event.data, message_finished=event.message_finished))
                )
            elif isinstance(event, Ping):
                self.transport.write(self.ws.send(event.response()))
            elif isinstance(event, CloseConnection):
                self.transport.write(self.ws.send(event.response()))
                self.transport.close()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=4096)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
