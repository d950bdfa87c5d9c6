"""Chat rooms: the path selects the room, ``?name=`` sets the guest's name.

An idle guest costs its handle, its name and two dictionary entries. When a guest enters or leaves, the others in the
room are told.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from roost.gateway.api import Application, Gateway, Message, Peer, Refusal, Request
from roost.wire.codes import UNSUPPORTED

MAX_NAME_CHARS = 30
MAX_GUESTS = 1000


class Chat(Application):
    """Run it: ``python -m gateway --app roost.gateway.examples.chat:Chat --no-discovery``, open ``ws://…/tea?name=Ada``."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[Peer, str]] = {}
        self._room_of: dict[Peer, str] = {}

    def start(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def admit(self, request: Request) -> Refusal | None:
        """Refuse guests without a valid name, and guests of a full room."""
        if not 1 <= len(_name(request)) <= MAX_NAME_CHARS:
            return Refusal(400, f"say who you are: ?name=… of at most {MAX_NAME_CHARS} characters")
        if len(self._rooms.get(request.path, ())) >= MAX_GUESTS:
            return Refusal(503, "this room is full", retry_after_s=60)
        return None

    def on_open(self, peer: Peer) -> None:
        request = peer.request
        assert request is not None
        room, name = request.path, _name(request)
        self._say(room, f"* {name} has come")
        self._rooms.setdefault(room, {})[peer] = name
        self._room_of[peer] = room
        peer.send(f"* you are in {room} with {', '.join(self._rooms[room].values())}")

    def on_message(self, peer: Peer, message: Message) -> None:
        if isinstance(message, bytes):
            peer.close(UNSUPPORTED)
            return
        room = self._room_of[peer]
        self._say(room, f"{self._rooms[room][peer]}: {message}")

    def on_close(self, peer: Peer, code: int, reason: str) -> None:
        room = self._room_of.pop(peer)
        name = self._rooms[room].pop(peer)
        if not self._rooms[room]:
            del self._rooms[room]
        self._say(room, f"* {name} has left")

    def _say(self, room: str, line: str) -> None:
        self._gateway.broadcast(self._gateway.encode(line), self._rooms.get(room, ()))


def _name(request: Request) -> str:
    return parse_qs(request.target.partition("?")[2]).get("name", [""])[0]
