"""Sends every message to all connected clients: encoded once, sent in slices."""

from roost.gateway.api import Application, Gateway, Message, Peer


class Broadcast(Application):
    """Run it: ``python -m gateway --app roost.gateway.examples.broadcast:Broadcast --no-discovery``."""

    def start(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def on_message(self, peer: Peer, message: Message) -> None:
        self.gateway.broadcast(self.gateway.encode(message), self.gateway.peers())
