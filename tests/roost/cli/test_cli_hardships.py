"""``roost`` where its surroundings fail: closed streams, full disks, early signals, ports and folders in use."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

import pytest

from bench.support.up_process import UpProcess
from tests.roost.cli.command import LOOPBACK, PATIENCE_S, ROOST, Outcome, crawl, finish, start
from tests.roost.site import Site

pytestmark = pytest.mark.slow


async def crawl_with(redirections: str, *arguments: str) -> Outcome:
    """The crawl under a shell's redirections."""
    command = ["sh", "-c", f'COLUMNS=300 exec "$@" {redirections}', "sh", *ROOST, *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    return await finish(process)


@pytest.mark.parametrize("redirections", ["0<&-", "2>&-", "0<&- 2>&-", "2>/dev/full"])
async def test_a_result_comes_whatever_became_of_the_other_streams(redirections: str, site: Site) -> None:
    done = await crawl_with(redirections, site.url, "--depth", "0", *LOOPBACK, "--format", "csv")
    assert (done.code, len(done.out.splitlines())) == (0, 2), done.err


async def test_without_standard_output_it_says_so_before_the_crawl(site: Site) -> None:
    done = await crawl_with(">&-", site.url, *LOOPBACK)
    assert done.code == 2
    assert "standard output is closed: name a file with --output" in done.err
    assert not site.slow_asked.is_set()


async def test_a_full_disk_behind_standard_output_is_a_sentence(site: Site) -> None:
    done = await crawl_with(">/dev/full", site.url, "--depth", "0", *LOOPBACK)
    assert (done.code, done.err.splitlines()[-1]) == (
        1,
        "roost: cannot write to standard output: no space left on device",
    )


async def test_a_closed_terminal_is_an_interrupt(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "out"
    process = await start(site.url, "--depth", "3", *LOOPBACK, "--output", str(path))
    await asyncio.wait_for(site.slow_asked.wait(), PATIENCE_S)
    process.send_signal(signal.SIGHUP)
    assert (await finish(process)).code == 130
    assert f"{site.url}a" in path.read_text()


async def test_killed_in_the_middle_it_leaves_the_old_file_and_no_other(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    process = await start(site.url, "--depth", "3", *LOOPBACK, "--output", str(path))
    await asyncio.wait_for(site.slow_asked.wait(), PATIENCE_S)
    process.kill()
    await finish(process)
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["out"])


async def test_interrupted_before_anything_was_asked_it_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    asked = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()  # the request
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        process = await start("http://a.example", "--server", url, "--output", str(path))
        await asyncio.wait_for(asked.wait(), PATIENCE_S)
        process.send_signal(signal.SIGINT)
        done = await finish(process)
    assert (done.code, path.read_text()) == (130, "old")
    assert done.err == "interrupted before the crawl began: there is nothing to write\n"


async def test_interrupted_while_it_loads_it_shows_no_traceback() -> None:
    code = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "roost.cli.commands":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)
from roost.cli import main
main()
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=PIPE)
    assert await finish(process) == (-signal.SIGINT, b"", "")


async def test_variables_may_have_commas_and_are_not_held_against_a_server(site: Site) -> None:
    env = {"ROOST_ALLOW_PRIVATE": "10.0.0.0/8,127.0.0.0/8"}
    site.gate.set()
    done = await crawl(site.url, env=env)
    assert done.code == 0, done.err
    asked = await crawl(site.url, "--server", "ftp://s", env=env)
    assert asked.err == "roost: write the server as http://host:port, not 'ftp://s'\n"


async def test_the_folder_of_a_running_system_is_its_own_and_a_port_in_use_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = UpProcess(data)
    await running.start()
    try:
        assert data.stat().st_mode & 0o777 == 0o700
        second = await finish(await start_up("--data", str(data), "--port", "0", "--gateway-port", "0"))
        assert (second.code, second.out) == (1, b"")
        assert f"{data} is in use by another roost up" in second.err
        port = re.sub(r".*:", "", running.url)
        third = await finish(await start_up("--port", port, "--gateway-port", "0"))
        assert (third.code, third.out) == (1, b"")
        assert f"cannot listen on 127.0.0.1:{port}: address already in use" in third.err
        assert "--port" in third.err
    finally:
        await running.kill()
    await running.start()
    await running.kill()
    (data / "keys").write_text("")
    fourth = await finish(await start_up("--data", str(data), "--port", "0", "--gateway-port", "0"))
    assert (fourth.code, f"cannot use the signing keys in {data / 'keys'}" in fourth.err) == (2, True), fourth.err


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("up", "--log-level", "silly"), "'debug', 'info', 'warning', 'error'"),
        (("up", "--host", "192.0.2.1"), "Error: cannot listen on 192.0.2.1:8000: cannot assign requested address\n"),
        (("lock", "--host", "0.0.0.0"), "Error: the lock server listens on 0.0.0.0: say how others reach it"),
        (("gateway", "--host", "0.0.0.0", "--broker", "amqp://b"), "Error: the gateway listens on 0.0.0.0: say how"),
    ],
)
async def test_a_serving_command_that_cannot_run_says_why(arguments: tuple[str, ...], advice: str) -> None:
    environment = os.environ | {"COLUMNS": "300"}
    process = await asyncio.create_subprocess_exec(*ROOST[:-1], *arguments, stdout=PIPE, stderr=PIPE, env=environment)
    done = await finish(process)
    assert done.code != 0
    assert advice in done.err
    assert "Traceback" not in done.err


async def start_up(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(*ROOST[:-1], "up", *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)


async def test_it_says_its_version() -> None:
    process = await asyncio.create_subprocess_exec(*ROOST[:-1], "--version", stdout=PIPE, stderr=PIPE)
    done = await finish(process)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(rb"roost \d+\.\d+\.\d+\n", done.out)
