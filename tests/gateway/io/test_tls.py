"""TLS over real sockets."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from roost.gateway.io.tls import Tls
from roost.gateway.server import Server
from roost.gateway.settings import Settings
from roost.wire.errors import Misuse
from tests.gateway.harness import GatewayFixture, Recorder, TickClock, pass_time, until
from tests.gateway.process.test_command import running

pytestmark = pytest.mark.slow


def make_certificate(folder: Path, name: str = "localhost") -> tuple[str, str]:
    """Return the paths of a self-signed certificate and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *kind, *subject, *files], check=True, capture_output=True)
    return str(certificate), str(key)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def trusting(certificate: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


async def test_messages_of_all_sizes_go_both_ways_over_tls(
    gateways: GatewayFixture, certificate: tuple[str, str]
) -> None:
    app = Recorder()
    server = await gateways.serve(app, tls_cert=certificate[0], tls_key=certificate[1], max_message_bytes=10**6)
    assert server.url.startswith("wss://")
    async with aiohttp.ClientSession() as http, http.ws_connect(server.url, ssl=trusting(certificate[0])) as client:
        for size in (0, 1, 125, 126, 16_384, 16_385, 70_000, 900_000):
            await client.send_bytes(bytes(size))
            assert await client.receive_bytes() == bytes(size)
    await until(lambda: app.closes() == [1000])
    await until(lambda: server.connections == 0)


async def test_a_slow_reader_over_tls_gets_every_byte(gateways: GatewayFixture, certificate: tuple[str, str]) -> None:
    app = Recorder()
    server = await gateways.serve(app, tls_cert=certificate[0], tls_key=certificate[1], max_outbox_bytes=10**8)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=raw, ssl=trusting(certificate[0]), server_hostname="localhost")
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    count = 0
    while app.peers[0].unsent_bytes < 300_000:
        app.peers[0].send(bytes(10_000))
        count += 1
    async with asyncio.timeout(20):
        for _ in range(count):
            head = await reader.readexactly(4)
            assert head == b"\x82\x7e\x27\x10"
            assert await reader.readexactly(10_000) == bytes(10_000)
    await until(lambda: app.peers[0].unsent_bytes == 0)
    writer.transport.abort()
    await until(lambda: server.connections == 0)


async def test_what_is_no_tls_is_refused_and_harms_nobody(
    gateways: GatewayFixture, certificate: tuple[str, str]
) -> None:
    server = await gateways.serve(tls_cert=certificate[0], tls_key=certificate[1])
    client = await gateways.connect(server)
    await client.write(client.upgrade_bytes())
    assert b"HTTP" not in await client.read_all()
    await until(lambda: server.connections == 0)
    async with aiohttp.ClientSession() as http, http.ws_connect(server.url, ssl=trusting(certificate[0])) as good:
        await good.send_str("hi")
        assert await good.receive_str() == "hi"


async def test_an_unfinished_tls_handshake_ends_in_time(gateways: GatewayFixture, certificate: tuple[str, str]) -> None:
    clock = TickClock()
    server = await gateways.serve(clock=clock, tls_cert=certificate[0], tls_key=certificate[1])
    client = await gateways.connect(server)
    await client.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    await until(lambda: server.connections == 1)
    await pass_time(server, clock, 5.2)
    await until(lambda: server.connections == 0)


async def test_old_versions_of_tls_are_refused(gateways: GatewayFixture, certificate: tuple[str, str]) -> None:
    assert Tls(*certificate)._context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_certificate_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="cannot use TLS certificate"):
        Tls(str(tmp_path / "none.pem"), "")
    (tmp_path / "bad.pem").write_text("nonsense")
    with pytest.raises(Misuse, match="cannot use TLS certificate"):
        Server(Recorder(), Settings(tls_cert=str(tmp_path / "bad.pem")))


async def shown_certificate(port: int) -> bytes:
    def look() -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw) as tls:
            shown = tls.getpeercert(binary_form=True)
            assert shown is not None
            return shown

    return await asyncio.to_thread(look)


async def test_sighup_reads_the_certificate_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "first.test")
    async with running("--tls-cert", certificate, "--tls-key", key) as gateway:
        assert gateway.lines[0].rstrip().endswith(f"wss://127.0.0.1:{gateway.port}/")
        first = await shown_certificate(gateway.port)
        await asyncio.to_thread(Path(certificate).write_text, "nonsense")
        gateway.process.send_signal(signal.SIGHUP)
        assert gateway.process.stderr is not None
        assert b"certificate not reloaded" in await gateway.process.stderr.readline()
        assert await shown_certificate(gateway.port) == first
        make_certificate(tmp_path, "second.test")
        gateway.process.send_signal(signal.SIGHUP)
        assert b"certificate reloaded" in await gateway.process.stderr.readline()
        assert await shown_certificate(gateway.port) != first
        assert await gateway.end(signal.SIGTERM) == 0
