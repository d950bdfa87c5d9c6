import asyncio, enum, json, os, sys
from roost.gateway.api import Application, Message, Peer, Refusal, Request
from roost.wire.codes import Close


def log(*a):
    print("APP", *a, flush=True)


class Echo(Application):
    def on_open(self, peer):
        r = peer.request
        log("open", r.path, r.target, r.address, json.dumps(dict(r.headers)), r.subprotocols, r.subject)

    def on_message(self, peer: Peer, message: Message) -> None:
        peer.send(message)

    def on_close(self, peer, code, reason):
        log("close", code, repr(reason))


class Sub(Echo):
    subprotocols = ("b.v1", "a.v1")


class Deny(Echo):
    """keeps /private to those with a cookie, by path"""

    def admit(self, request):
        if request.path == "/private" and "cookie" not in request.headers:
            return Refusal(401, "no")
        return None


class Colour(enum.StrEnum):
    RED = "red"


class Subclass(Echo):
    def on_message(self, peer, message):
        peer.send(Colour.RED)


class AsyncHandler(Echo):
    async def on_message(self, peer, message):
        peer.send(message)


class CloseWith(Echo):
    def on_message(self, peer, message):
        code, _, reason = message.partition(" ")
        peer.close(Close(int(code), reason))


class Where(Echo):
    def on_open(self, peer):
        super().on_open(peer)
        peer.send(
            json.dumps({"address": peer.request.address, "path": peer.request.path, "h": dict(peer.request.headers)})
        )


class Big(Echo):
    def on_message(self, peer, message):
        peer.send("x" * int(message))


class AsyncAdmit(Echo):
    async def admit(self, request):
        return None


class StartRaises(Echo):
    def start(self, gateway):
        raise RuntimeError("no database")


class StopRaises(Echo):
    def stop(self):
        raise RuntimeError("cannot flush")


class InitRaises(Echo):
    def __init__(self):
        raise RuntimeError("no config")


class Blocking(Echo):
    def on_message(self, peer, message):
        import time

        if message == "block":
            time.sleep(6)
        peer.send(message)


class ThreadSend(Echo):
    """sends from a thread, as people do"""

    def on_message(self, peer, message):
        import threading

        threading.Thread(target=lambda: [peer.send("t%d" % i) for i in range(20)]).start()


class NotBool(Echo):
    def admit(self, request):
        return True
