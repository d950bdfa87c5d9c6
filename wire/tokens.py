"""Signed tokens: a ticket lets a client connect to one gateway, a session identifies a client.

A token is ``purpose.key.body.mac``: a letter for its purpose, the name of the signing key, base64url of a
msgpack body, and base64url of HMAC-SHA256 over everything before it (RFC 2104, truncated to 128 bits as its
section 5 allows). The body always starts with the time of expiry in whole seconds since 1970. Keys can be
rotated: the first key of a `Keyring` signs, and tokens signed with any of its keys are accepted.

A session is a bearer secret: it never appears in a URL or a log. A ticket is valid for one gateway and a
short time only, so it may appear in a URL.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from roost.wire.errors import Misuse, TokenError, TokenFault

T = TypeVar("T")

MAC_BYTES = 16
MIN_KEY_BYTES = 16
MAX_TOKEN_CHARS = 1024
CLIENT_ID_BYTES = 16
_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Ticket(msgspec.Struct, array_like=True, frozen=True):
    """Admits one client to one gateway incarnation until `expires` (wall seconds).

    A gateway accepts each `serial` once.
    """

    expires: int
    gateway: str
    serial: bytes


class Session(msgspec.Struct, array_like=True, frozen=True):
    """Identifies one client (an id of 16 bytes) until `expires` (wall seconds)."""

    expires: int
    client: bytes


class Keyring:
    """Signing keys by name, newest first.

    Raises Misuse when there is no key, a key is too short, or its name is invalid.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys or any(len(key) < MIN_KEY_BYTES or not _KEY_NAME.fullmatch(name) for name, key in keys.items()):
            raise Misuse(
                f"a keyring needs at least one key, each of {MIN_KEY_BYTES} bytes or more, "
                "with a name of 1 to 32 ASCII letters, digits, - and _"
            )
        self._keys = dict(keys)
        self._signer = next(iter(self._keys))

    @classmethod
    def from_text(cls, text: str) -> Keyring:
        """The keyring written as ``name:secret,older:secret``. The first key signs, all are accepted. Raises Misuse."""
        pairs = [item.partition(":") for item in text.split(",") if item]
        keys = {name.strip(): secret.strip().encode() for name, _, secret in pairs}
        if len(keys) < len(pairs):
            raise Misuse("two keys have the same name: an old one could not be told from its successor")
        return cls(keys)

    @classmethod
    def random(cls) -> Keyring:
        """A keyring with one random key, which no other process knows."""
        return cls({"run": secrets.token_bytes(32)})

    def sign_ticket(self, ticket: Ticket) -> str:
        return self._sign("t", msgspec.msgpack.encode(ticket))

    def sign_session(self, session: Session) -> str:
        return self._sign("s", msgspec.msgpack.encode(session))

    def read_ticket(self, text: str, now: float, gateway: str) -> Ticket:
        """The ticket in `text`.

        Raises TokenError unless it is signed with one of these keys, not expired at wall time `now`, and for `gateway`.
        """
        ticket = _decode(self._verify("t", text), Ticket)
        _refuse_expired(ticket.expires, now)
        if ticket.gateway != gateway:
            raise TokenError("this ticket is for another gateway: ask discovery for one", TokenFault.FOREIGN)
        return ticket

    def read_session(self, text: str, now: float) -> Session:
        """The session in `text`.

        Raises TokenError unless it is signed with one of these keys and not expired at wall time `now`.
        """
        session = _decode(self._verify("s", text), Session)
        _refuse_expired(session.expires, now)
        if len(session.client) != CLIENT_ID_BYTES:
            raise TokenError("malformed session")
        return session

    def _sign(self, purpose: str, body: bytes) -> str:
        signed = f"{purpose}.{self._signer}.{_text(body)}"
        return f"{signed}.{_text(_mac(self._keys[self._signer], signed))}"

    def _verify(self, purpose: str, text: str) -> bytes:
        if len(text) > MAX_TOKEN_CHARS or not text.isascii():
            raise TokenError("malformed token")
        signed, _, mac = text.rpartition(".")
        parts = signed.split(".")
        if len(parts) != 3:
            raise TokenError("malformed token")
        key = self._keys.get(parts[1])
        if parts[0] != purpose or key is None or not hmac.compare_digest(_text(_mac(key, signed)), mac):
            raise TokenError("not a token of this system")
        return _bytes(parts[2])


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)[:MAC_BYTES]


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise TokenError("malformed token") from None


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.DecodeError:
        raise TokenError("malformed token") from None


def _refuse_expired(expires: int, now: float) -> None:
    if now >= expires:
        raise TokenError("this token has expired: ask for a new one", TokenFault.EXPIRED)
