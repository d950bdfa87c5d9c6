"""``python -m gateway``, run from the command line."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.tokens import Keyring, Ticket
from tests.gateway.harness import PATIENCE_S

pytestmark = pytest.mark.slow

ECHO = ("--app", "roost.gateway.examples.echo:Echo", "--port", "0", "--no-discovery")
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@dataclass
class Running:
    """A running gateway process."""

    process: asyncio.subprocess.Process
    port: int
    admin_port: int
    lines: list[str]

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def running(*arguments: str, alone: bool = True, **variables: str) -> AsyncIterator[Running]:
    app = ECHO if alone else ECHO[:-1]
    command = (sys.executable, "-m", "gateway", *app, "--admin-port", "0", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **variables}
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        ports = [int(re.findall(r"(\d+)/?$", line.strip())[0]) for line in (lines[0], lines[2])]
        yield Running(process, ports[0], ports[1], lines)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_echo_example_runs_and_a_signal_sends_its_clients_away(number: signal.Signals) -> None:
    async with running() as gateway, aiohttp.ClientSession() as http:
        async with http.ws_connect(f"http://127.0.0.1:{gateway.port}/") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
            ending = asyncio.ensure_future(gateway.end(number))
            message = await socket.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        assert await ending == 0


async def test_it_has_one_thread() -> None:
    async with running() as gateway:
        assert len(os.listdir(f"/proc/{gateway.process.pid}/task")) == 1


async def test_it_says_where_it_listens_and_what_its_capacity_comes_from() -> None:
    async with running() as gateway:
        assert gateway.lines[0].startswith("gateway ")
        assert re.match(r"capacity \d+ connections \(from RLIMIT_NOFILE\)", gateway.lines[1])
        assert await gateway.end(signal.SIGTERM) == 0
    async with running("--max-connections", "50") as gateway:
        assert gateway.lines[1] == "capacity 50 connections (asked for)\n"


async def test_metrics_count_what_happened() -> None:
    async with running() as gateway, aiohttp.ClientSession() as http:
        async with http.ws_connect(f"http://127.0.0.1:{gateway.port}/") as socket:
            await socket.send_str("hello")
            await socket.receive_str()
            async with http.get(f"http://127.0.0.1:{gateway.admin_port}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        assert "roost_gateway_messages_in_total 1.0" in lines
        assert "roost_gateway_messages_out_total 1.0" in lines
        assert "roost_gateway_open_connections 1.0" in lines
        for path in ("/health", "/ready"):
            async with http.get(f"http://127.0.0.1:{gateway.admin_port}{path}") as answer:
                assert answer.status == 200


NEW_KEY, OLD_KEY = "new:fedcba9876543210", "old:0123456789abcdef"


def make_ticket(gateway: str, serial: bytes, keys: str = NEW_KEY, valid_s: int = 30) -> str:
    return Keyring.from_text(keys).sign_ticket(Ticket(int(SYSTEM_CLOCK.wall()) + valid_s, gateway, serial))


async def test_each_bad_ticket_is_refused_before_the_upgrade_with_its_reason_in_the_metrics() -> None:
    async with (
        running("--require-ticket", ROOST_KEYS=f"{NEW_KEY},{OLD_KEY}") as gateway,
        aiohttp.ClientSession() as http,
    ):
        name = gateway.lines[0].split()[1]
        url = f"http://127.0.0.1:{gateway.port}/"
        for good in (make_ticket(name, b"one"), make_ticket(name, b"two", OLD_KEY)):
            async with http.ws_connect(url, params={"ticket": good}):
                pass
        refused = [
            ({}, "missing", "ask discovery"),
            ({"ticket": make_ticket(name, b"3", "new:0000000000000000")}, "forged", "not a token of this system"),
            ({"ticket": make_ticket(name, b"4", "retired:0123456789abcdef")}, "forged", "not a token of this system"),
            ({"ticket": make_ticket(name, b"5")[:-1]}, "forged", "not a token of this system"),
            ({"ticket": make_ticket(name, b"6", valid_s=0)}, "expired", "expired"),
            ({"ticket": make_ticket("another", b"7")}, "foreign", "another gateway"),
            ({"ticket": make_ticket(name, b"one")}, "used", "used already"),
        ]
        for parameters, _, sentence in refused:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await http.ws_connect(url, params=parameters)
            assert refusal.value.status == 403
            async with http.get(url, params=parameters, headers=UPGRADE) as answer:
                assert sentence in await answer.text()
        async with http.get(f"http://127.0.0.1:{gateway.admin_port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        asked_twice = Counter(reason for _, reason, _ in refused * 2)
        for reason, count in asked_twice.items():
            assert f'roost_gateway_refused_total{{reason="ticket_{reason}"}} {count:.1f}' in lines
        assert "roost_gateway_opened_total 2.0" in lines


async def test_options_come_from_variables_too_and_options_win() -> None:
    async with running(ROOST_MAX_CONNECTIONS="70") as gateway:
        assert "capacity 70 " in gateway.lines[1]
    async with running("--max-connections", "60", ROOST_MAX_CONNECTIONS="70") as gateway:
        assert "capacity 60 " in gateway.lines[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "0", "--no-discovery"], "say which application to run"),
        (["--app", "roost.gateway.examples.echo:Echo"], "say where discovery is"),
        (
            ["--app", "roost.gateway.examples.echo:Nothing", "--no-discovery"],
            "no application roost.gateway.examples.echo:Nothing",
        ),
        (["--app", "nowhere", "--no-discovery"], "no application nowhere"),
        ([*ECHO, "--max-message-bytes", "many"], "invalid int value"),
        ([*ECHO, "--ping-after-s", "-1"], "ping_after_s is -1.0: it must not be negative"),
        ([*ECHO, "--max-connections", "99999999"], "RLIMIT_NOFILE"),
        ([*ECHO, "--require-ticket"], "--keys"),
        ([*ECHO, "--label", "zone"], "NAME=VALUE"),
        ([*ECHO, "--require-ticket", "--keys", "short:key"], "16 bytes"),
    ],
)
async def test_options_that_make_no_sense_are_refused_with_a_sentence(arguments: list[str], complaint: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *arguments, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert complaint in errors.decode()


async def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    async with running() as gateway:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", *ECHO, "--port", str(gateway.port), stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE_S):
            _, errors = await process.communicate()
        assert process.returncode == 1
        assert f"cannot listen on 127.0.0.1:{gateway.port}" in errors.decode()
        assert "Traceback" not in errors.decode()


async def test_help_teaches() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "--help", stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        text, _ = await process.communicate()
    for word in (
        "--max-message-bytes",
        "--ping-after-s",
        "roost.gateway.examples.echo:Echo",
        "ROOST_PING_AFTER_S",
        "1012",
    ):
        assert word in text.decode()
