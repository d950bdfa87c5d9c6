"""What operators type, against a running discovery."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner, Result

from roost.cli.commands import app
from roost.cli.discovery_replicas import Reply
from roost.cli.status_table import merge, state_of, table
from roost.discovery.server import Discovery
from roost.wire.codec import pack
from roost.wire.messages.registry import Beat, BeatAnswer, ComponentKind, read_beat_answer
from roost.wire.tokens import Keyring
from tests.discovery.beats import make_beat
from tests.discovery.conftest import ADMIN, SECRET

NOBODY = "http://127.0.0.1:1"
PARTS = (
    make_beat("g1", load=95, version="0.1", lag_ms=300.0, counters={"moves": 7.0}),
    make_beat("l1", kind=ComponentKind.LOCK, address="http://l1:1", counters={"decided": 12_345.0}),
    make_beat("master-1", kind=ComponentKind.MASTER, address="", load=3),
    make_beat("worker-1", kind=ComponentKind.WORKER, address=""),
)


class Site:
    """Discovery and what beats to it."""

    def __init__(self, discovery: Discovery) -> None:
        self.url = discovery.url

    async def beat(self, beat: Beat) -> BeatAnswer:
        headers = SECRET.headers()
        async with (
            aiohttp.ClientSession(self.url) as http,
            http.post("/v1/beat", data=pack(beat), headers=headers) as answer,
        ):
            return read_beat_answer(await answer.read())

    async def roost(self, *words: str, token: str = ADMIN.value, server: str = "") -> Result:
        variables = {"ROOST_ADMIN_TOKEN": token, "ROOST_SERVER": server or self.url}
        return await asyncio.to_thread(CliRunner().invoke, app, words, env=variables)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    keyring = Keyring({"test": b"0123456789abcdef"})
    discovery = Discovery("127.0.0.1", 0, keyring, secret=SECRET, admin=ADMIN, interval_s=60.0)
    await discovery.start()
    yield Site(discovery)
    await discovery.stop()


async def test_status_shows_every_part_with_what_matters(site: Site) -> None:
    for beat in PARTS:
        await site.beat(beat)
    done = await site.roost("status", token="")
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert [line.split()[0] for line in lines] == ["component", "discovery", "gateway", "lock", "master", "worker"]
    assert lines[2].startswith("gateway ws://g1:9001 0.1 95 100 95% 300")
    assert lines[2].endswith("up moves 7")
    assert "decided 12,345" in lines[3]
    assert lines[4].startswith("master master-1")


async def test_status_as_json_is_what_replicas_know_and_says_which_answer(site: Site) -> None:
    await site.beat(PARTS[0])
    done = await site.roost("status", "--json", server=f"{NOBODY},{site.url}")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(one["url"], one["answers"]) for one in found["discovery"]] == [(NOBODY, False), (site.url, True)]
    assert "connection refused" in found["discovery"][0]["problem"]
    assert [(part["incarnation"], part["load"]) for part in found["components"]] == [("g1", 95)]


async def test_status_without_any_replica_fails_and_says_why(site: Site) -> None:
    done = await site.roost("status", server=NOBODY)
    assert done.exit_code == 1
    assert f"{NOBODY}: cannot be reached: connection refused" in done.stderr


@pytest.mark.parametrize("server", ["ws://h:1", "ftp://h", "http://", ","])
@pytest.mark.parametrize("command", [("status",), ("rebalance",), ("drain", "g1")])
async def test_a_server_that_can_be_none_is_a_usage_error(site: Site, command: tuple[str, ...], server: str) -> None:
    done = await site.roost(*command, "--server", server)
    assert done.exit_code == 2
    assert "--server" in done.stderr


async def test_drain_waits_until_the_gateway_is_empty(site: Site) -> None:
    await site.beat(make_beat("g1", load=2))
    draining = asyncio.create_task(site.roost("drain", "ws://g1:9001", "--window-s", "3", "--force"))
    sequence = 1
    while True:
        sequence += 1
        directions = (await site.beat(make_beat("g1", sequence, load=2))).directions
        if directions.leave:
            break
    assert directions.window_s == 3.0
    await site.beat(make_beat("g1", sequence + 1, load=1, draining=True))
    assert not draining.done()
    await site.beat(make_beat("g1", sequence + 2, load=0, draining=True))
    done = await draining
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "ws://g1:9001 moves its 2 client(s) to other gateways within 3 s", "ws://g1:9001 is empty",
    ]  # fmt: skip
    done = await site.roost("drain", "g1:9001", "--undo")
    assert done.stdout == "ws://g1:9001 accepts clients again from its next heartbeat on\n"
    assert (await site.beat(make_beat("g1", sequence + 3, draining=True))).directions.leave is False


async def test_the_last_gateway_is_drained_only_by_force(site: Site) -> None:
    await site.beat(make_beat("g1", load=2))
    done = await site.roost("drain", "g1")
    assert (done.exit_code, "no other gateway accepts clients: start another" in done.stderr) == (1, True)
    await site.beat(make_beat("g2", draining=True))
    assert (await site.roost("drain", "g1")).exit_code == 1
    await site.beat(make_beat("g2", 2, load=1))
    assert (await site.roost("drain", "g1", "--no-wait")).exit_code == 0
    assert (await site.roost("drain", "g2")).exit_code == 1  # g1 has been told to leave


@pytest.mark.slow
async def test_watching_into_a_file_writes_a_table_each_second(site: Site) -> None:
    await site.beat(make_beat("g1"))
    command = [sys.executable, "-m", "roost", "status", "--server", site.url, "--watch"]
    watching = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert watching.stdout is not None
    tables = 0
    while tables < 2:
        tables += (await watching.stdout.readline()).startswith(b"component ")
    watching.send_signal(signal.SIGINT)
    await watching.communicate()
    assert watching.returncode in (0, -signal.SIGINT)


async def test_rebalance_says_how_many_are_to_move(site: Site) -> None:
    await site.beat(make_beat("g1", load=60))
    await site.beat(make_beat("g2", load=20))
    assert (await site.roost("rebalance")).stdout == "20 clients will move\n"
    await site.beat(make_beat("g1", 2, load=40))
    await site.beat(make_beat("g2", 2, load=40))
    assert (await site.roost("rebalance")).stdout == "all gateways are equally full\n"


@pytest.mark.parametrize("command", [("rebalance",), ("drain", "g1")])
async def test_orders_without_the_token_or_with_a_wrong_one_say_what_to_set(
    site: Site, command: tuple[str, ...]
) -> None:
    await site.beat(make_beat("g1"))
    done = await site.roost(*command, token="")
    assert (done.exit_code, "set ROOST_ADMIN_TOKEN" in done.stderr) == (2, True)
    done = await site.roost(*command, token="wrong")
    assert (done.exit_code, "set ROOST_ADMIN_TOKEN to the one that discovery" in done.stderr) == (1, True)
    assert (await site.beat(make_beat("g1", 2))).directions.leave is None


async def test_an_unknown_gateway_is_an_error_that_names_the_others(site: Site) -> None:
    await site.beat(make_beat("g1"))
    done = await site.roost("drain", "g9")
    assert (done.exit_code, "there are: ws://g1:9001" in done.stderr) == (1, True)


def part(incarnation: str, silent_s: float, **more: Any) -> dict[str, Any]:
    return {
        "incarnation": incarnation, "kind": "gateway", "address": "", "silent_s": silent_s, "load": 1, "capacity": 0,
        "version": "1", "lag_ms": 0.0, "known_s": 1.0, "draining": False, "moving": 0, "counters": {}, **more,
    }  # fmt: skip


def test_a_part_that_several_replicas_know_is_shown_once_as_the_freshest_has_it() -> None:
    one = Reply("http://a", {"components": [part("g1", 2.0, load=5), part("g2", 0.1)]})
    two = Reply("http://b", {"components": [part("g1", 0.5, load=6)]})
    found = merge([one, two, Reply("http://c", problem="away")])
    assert [(each["incarnation"], each["load"]) for each in found] == [("g1", 6), ("g2", 1)]


def test_states_in_words() -> None:
    assert state_of(part("g", 0.0)) == "up"
    assert state_of(part("g", 0.0, moving=12)) == "giving 12 away"
    assert state_of(part("g", 0.0, draining=True)) == "draining"
    assert state_of(part("g", 0.0, draining=True, load=0)) == "drained"


def test_what_a_part_says_of_itself_cannot_command_the_terminal() -> None:
    hostile = Reply("http://a", {"components": [part("g", 0.0, version="\x1b[2J", counters={"\x1b]0;x": 1.0})]})
    cells = [str(cell) for column in table([hostile]).columns for cell in column.cells]
    assert not any("\x1b" in cell for cell in cells)
