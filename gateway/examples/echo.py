"""The smallest application: sends every message back to its sender."""

from roost.gateway.api import Application, Message, Peer


class Echo(Application):
    """Run it: ``python -m gateway --app roost.gateway.examples.echo:Echo --port 9001 --no-discovery``."""

    def on_message(self, peer: Peer, message: Message) -> None:
        peer.send(message)
