"""Connects to a gateway: asks discovery which gateways have free capacity, and opens a WebSocket to one of them.

Discovery's replicas share nothing, so when one does not answer, the next one is asked. The alternates in an answer
are tried before discovery is asked again. A ``ws://`` URL is that of a gateway and needs no discovery.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Iterable, Mapping

import aiohttp
import msgspec
from aiohttp import WSMsgType
from yarl import URL

from roost.wire.codec import to_json
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, DecodeError, RoostError
from roost.wire.messages.client import (
    SUBPROTOCOL,
    FromClient,
    FromGateway,
    Resume,
    read_from_gateway,
)
from roost.wire.messages.registry import Choice, read_assignment

log = logging.getLogger(__name__)

ASK_S = 5.0
"""Timeout of a request to discovery, which answers from memory; a slower one counts as down."""

OPEN_S = 10.0
"""Timeout of connecting and the handshake, enough for any distance."""

SILENCE_S = 60.0
"""A gateway pings about every 25 s. After this long without a frame the client sends a ping itself."""

PONG_S = 15.0

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A result part is at most 256 KiB of JSON; a larger message does not come from a Roost gateway."""

GOODBYE_S = 2.0

BROKEN = 1006
"""The link ended without a close frame (RFC 6455 section 7.1.5); 1005 is a close frame without a code."""
NO_CODE = 1005
_LAST = Resume([])
"""Put last into the queue, it ends the writer; it is never sent."""

_OUTAGES = (aiohttp.ClientError, OSError, TimeoutError)


MAX_REFUSAL_CHARS = 200


class _Refusal(msgspec.Struct):
    """An error answer of discovery; only its message is read."""

    message: str


class NoGateway(RoostError):
    """No gateway accepted a connection. `retry_after_s` is what discovery or a gateway sent, if they did."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Link:
    """One open WebSocket to a gateway. `put` never waits, because a task of the link does the writing."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._outgoing: asyncio.Queue[FromClient] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write_on())

    def put(self, message: FromClient) -> None:
        """Queue a message for sending. If it cannot be sent, the link ends, which `receive` reports."""
        self._outgoing.put_nowait(message)

    async def receive(self) -> FromGateway | int:
        """The next message, or the close code when the link has ended. Messages of later versions are skipped."""
        asked = False
        while True:
            try:
                frame = await self._socket.receive(PONG_S if asked else SILENCE_S)
            except TimeoutError:
                if asked or not await self._ping():
                    return BROKEN
                asked = True
                continue
            asked = False
            if frame.type is WSMsgType.CLOSE:
                return int(frame.data or NO_CODE)
            if frame.type is WSMsgType.PING:
                await self._pong(frame.data)
            elif frame.type is WSMsgType.TEXT:
                try:
                    return read_from_gateway(frame.data)
                except DecodeError as problem:
                    log.info("message skipped", extra={"action": "message_skipped", "reason": problem.message})
            elif frame.type is not WSMsgType.PONG:
                return BROKEN

    async def close(self) -> None:
        """Send all queued messages, then close the WebSocket and wait up to `GOODBYE_S` for the peer's close frame."""
        self._outgoing.put_nowait(_LAST)
        await asyncio.wait({self._writer}, timeout=GOODBYE_S)
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        await self._socket.close()

    async def _write_on(self) -> None:
        while (message := await self._outgoing.get()) is not _LAST:
            try:
                await self._socket.send_str(to_json(message).decode())
            except _OUTAGES:
                return

    async def _ping(self) -> bool:
        try:
            await self._socket.ping()
        except _OUTAGES:
            return False
        return True

    async def _pong(self, payload: bytes) -> None:
        with contextlib.suppress(*_OUTAGES):
            await self._socket.pong(payload)


class Route:
    """Opens links for one client. `urls` are replicas of discovery, or a gateway. Raises BadInput for other URLs.

    The query of a replica's URL has labels of preferred gateways: ``http://host:8000?zone=a``.
    """

    def __init__(self, http: aiohttp.ClientSession, urls: Iterable[str]) -> None:
        self._http = http
        self._urls = [checked_url(url) for url in urls]
        random.shuffle(self._urls)  # so that each replica serves an equal share of the clients
        if not self._urls:
            raise BadInput(ErrorCode.BAD_URL, "name the URL of at least one discovery server")

    def __str__(self) -> str:
        return ", ".join(str(url) for url in self._urls)

    async def open(self) -> Link:
        """Open a link to a gateway with free capacity. Raises NoGateway."""
        problem = NoGateway("no gateway was named")
        for choice in await self._choices():
            try:
                return await self.connect(choice)
            except NoGateway as refused:
                problem = refused
        raise problem

    async def connect(self, choice: Choice) -> Link:
        """Open a link to this gateway. Raises NoGateway."""
        url = URL(choice.url)
        where = str(url.with_query(None))
        with_ticket = url.update_query(ticket=choice.ticket) if choice.ticket else url
        try:
            async with asyncio.timeout(OPEN_S):
                socket = await self._http.ws_connect(
                    with_ticket,
                    protocols=[SUBPROTOCOL],
                    autoping=False,
                    max_msg_size=MAX_MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=GOODBYE_S),
                )
        except aiohttp.WSServerHandshakeError as problem:
            told_s = _retry_after(problem.headers)
            raise NoGateway(f"the gateway at {where} refused: {problem.status}", told_s) from problem
        except (*_OUTAGES, ValueError) as problem:
            raise NoGateway(f"cannot reach the gateway at {where}: {reason(problem)}") from problem
        if socket.protocol != SUBPROTOCOL:
            await socket.close()
            raise NoGateway(f"{where} does not speak {SUBPROTOCOL}")
        return Link(socket)

    async def _choices(self) -> list[Choice]:
        """The gateways to try, best first, from the first replica that answers. Raises NoGateway."""
        problem = NoGateway("no discovery server was named")
        for turn, url in enumerate(list(self._urls)):
            if url.scheme in ("ws", "wss"):
                return [Choice(str(url), "")]
            try:
                choices = await self._ask(url)
            except NoGateway as refused:
                problem = refused
                continue
            self._urls = self._urls[turn:] + self._urls[:turn]
            return choices
        raise problem

    async def _ask(self, url: URL) -> list[Choice]:
        try:
            timeout = aiohttp.ClientTimeout(total=ASK_S)
            async with self._http.get((url / "v1" / "gateway").with_query(url.query), timeout=timeout) as response:
                body = await response.read()
                if response.status in (429, 503):
                    raise NoGateway(_refusal(body), _retry_after(response.headers))
                if response.status != 200:
                    raise NoGateway(f"{url} answered {response.status}: is this Roost's discovery?")
                assignment = read_assignment(body)
        except DecodeError as problem:
            raise NoGateway(f"{url} does not answer like Roost's discovery") from problem
        except (*_OUTAGES, ValueError) as problem:
            raise NoGateway(f"cannot reach discovery at {url}: {reason(problem)}") from problem
        return [Choice(assignment.url, assignment.ticket), *assignment.alternates]


def _refusal(body: bytes) -> str:
    """The reason that discovery sent, or a general one."""
    try:
        return msgspec.json.decode(body, type=_Refusal).message[:MAX_REFUSAL_CHARS]
    except msgspec.DecodeError:
        return "no gateway has free capacity"


def checked_url(text: str) -> URL:
    """The URL of a server; ``http://`` is added when there is no scheme. Raises BadInput for an invalid URL."""
    try:
        url = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https", "ws", "wss") or not url.host:
        raise BadInput(ErrorCode.BAD_URL, f"write the server as http://host:port, not {text!r}")
    return url


def _retry_after(headers: Mapping[str, str] | None) -> float | None:
    text = (headers or {}).get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def reason(problem: BaseException) -> str:
    """Why a connection failed, in words for people."""
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, aiohttp.ClientSSLError):
        return "TLS failed: write http:// instead of https://, or check the server's certificate"
    number = getattr(problem, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number).lower()
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return "the host name does not resolve"
    return str(problem) or type(problem).__name__
