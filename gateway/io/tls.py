"""TLS in the gateway itself, without an asyncio transport or task: about 16 KB for a connection.

The socket's bytes pass through an `ssl.SSLObject` between two memory buffers (ssl.MemoryBIO). For the rest of the
gateway this is a `Transport` like plain TCP. The TLS handshake happens inside the first reads and has the same deadline
as the opening handshake. One thing is different: encrypted bytes may not fit into the socket's buffer. They are kept
here and `on_stuck` is called; the caller then calls `write` again, with empty data if necessary, when the socket is
writable.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Callable
from functools import partial

from roost.gateway.io.batch import ReadMessages, WriteFrames, read_messages_by, write_frames_by
from roost.gateway.io.transport import Plain
from roost.wire.errors import Misuse

RECORD_BYTES = 16 * 1024
"""Most plaintext bytes in one TLS record (RFC 8446 section 5.1)."""


class _Session:
    """One connection's TLS state."""

    __slots__ = ("_incoming", "_is_up", "_outgoing", "_tls", "waiting")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_up = False
        self.waiting = b""
        """Encrypted bytes that were not written to the socket yet."""

    def decrypt(self, data: bytes) -> bytes | None:
        """Return the plaintext of these bytes; None when more are needed. Raises ssl.SSLError."""
        self._incoming.write(data)
        pieces = []
        try:
            if not self._is_up:
                self._tls.do_handshake()
                self._is_up = True
            while piece := self._tls.read(RECORD_BYTES):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces) or None
        finally:
            self.collect()
        return b"".join(pieces)

    def encrypt(self, data: bytes | memoryview) -> int:
        """Encrypt up to one record of `data` into `waiting`; return how many bytes were taken. Raises ssl.SSLError."""
        taken = self._tls.write(data[:RECORD_BYTES])
        self.collect()
        return taken

    def say_end(self) -> None:
        """Append a close_notify alert to `waiting`."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # the peer's close_notify has not arrived, or the handshake never completed
        finally:
            self.collect()

    def collect(self) -> None:
        """Move the output of the TLS library to `waiting`."""
        self.waiting += self._outgoing.read()


class Tls:
    """A `Transport` that encrypts. Raises Misuse for a certificate or key that cannot be used."""

    first_read_bytes = RECORD_BYTES

    def __init__(self, certificate: str, key: str) -> None:
        self._files = (certificate, key or None)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._sessions: dict[int, _Session] = {}
        self.on_stuck: Callable[[int], None] = lambda fd: None
        self.read_messages: ReadMessages = partial(read_messages_by, self.read)
        self.write_frames: WriteFrames = partial(write_frames_by, self.write)
        self.reload()

    def reload(self) -> None:
        """Read certificate and key again, for new connections. Raises Misuse, and then the old ones stay in use."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files)
            self._context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as problem:
            raise Misuse(f"cannot use TLS certificate {self._files[0]}: {problem}") from problem

    def read(self, fd: int, size: int) -> bytes:
        data = os.read(fd, size)
        if not data:
            return b""
        session = self._sessions.get(fd)
        if session is None:
            session = self._sessions[fd] = _Session(self._context)
        try:
            plain = session.decrypt(data)
        except ssl.SSLError as problem:
            self._flush(fd, session)  # sends the TLS alert
            raise OSError(errno.EPROTO, str(problem)) from problem
        if session.waiting and not self._flush(fd, session):
            self.on_stuck(fd)
        if plain is None:
            raise BlockingIOError
        return plain

    def write(self, fd: int, data: bytes | memoryview) -> int:
        session = self._sessions.get(fd)
        if session is None:
            raise OSError(errno.ENOTCONN, "cannot write before the TLS handshake")
        if not self._flush(fd, session):
            raise BlockingIOError
        taken = 0
        while taken < len(data):
            try:
                taken += session.encrypt(data[taken:])
            except ssl.SSLError as problem:
                raise OSError(errno.EPROTO, str(problem)) from problem
            if not self._flush(fd, session):
                self.on_stuck(fd)
                break
        return taken

    def shut(self, fd: int) -> None:
        session = self._sessions.get(fd)
        if session is not None:
            session.say_end()
            self._flush(fd, session)
        Plain.shut(fd)

    def close(self, fd: int) -> None:
        session = self._sessions.pop(fd, None)
        try:
            if session is not None:
                session.say_end()
                self._flush(fd, session)
        except OSError:
            pass  # the peer is already gone
        finally:
            os.close(fd)

    def _flush(self, fd: int, session: _Session) -> bool:
        """Write `waiting` to the socket; return True when all of it was written. Raises OSError."""
        while session.waiting:
            try:
                sent = os.write(fd, session.waiting)
            except BlockingIOError:
                return False
            session.waiting = session.waiting[sent:]
        return True
