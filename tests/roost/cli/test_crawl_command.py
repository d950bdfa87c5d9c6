"""``roost crawl`` as a user runs it: a process, its exit code, its two streams, and signals."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from roost.discovery.server import Discovery
from roost.wire.messages import client as protocol
from tests.roost.cli.command import LOOPBACK, PATIENCE_S, ROOST, crawl, finish, start
from tests.roost.gateway import ScriptedGateway
from tests.roost.site import Site

pytestmark = pytest.mark.slow


async def test_without_a_server_it_brings_everything_itself_and_leaves_only_the_result_on_stdout(site: Site) -> None:
    site.gate.set()
    done = await crawl(site.url, "--depth", "2", *LOOPBACK, "--format", "json")
    assert done.code == 0, done.err
    result: dict[str, Any] = json.loads(done.out)
    paths = [[url.removeprefix(site.url) for url in level] for level in result["levels"]]
    assert paths == [[""], ["a", "slow", "http://o.example/"], ["b"]]
    assert (result["outcome"], result["fetched"], result["listed"], result["truncated"]) == ("done", 3, 5, False)
    assert result["skipped"] == [{"url": "http://o.example/", "reason": "scope"}]
    assert done.err.splitlines()[-1].startswith("done: 3 levels, 5 URLs, 3 fetched, 0 failed, 1 skipped")


async def test_a_crawl_that_finds_broken_links_says_where_they_are_and_exits_3(site: Site) -> None:
    done = await crawl(site.url, *LOOPBACK, "--check", "--exclude", "/slow", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["broken"] == []
    done = await crawl(site.url + "gone-by", *LOOPBACK, "--check", "--format", "json")
    assert done.code == 3, done.err
    (broken,) = json.loads(done.out)["broken"]
    assert (broken["url"], broken["reason"], broken["pages"]) == (site.url + "no", "status_404", [site.url + "gone-by"])


async def test_what_is_selected_comes_with_its_page_also_by_a_variable_with_spaces(site: Site) -> None:
    env = {"ROOST_SELECT": "link=a[href='/b'] name=html > body a", "ROOST_ALLOW_PRIVATE": "127.0.0.0/8"}
    done = await crawl(site.url + "a", "--format", "jsonl", env=env)
    assert done.code == 0, done.err
    assert json.loads(done.out.splitlines()[0])["link"] == ["b"]


async def test_options_may_come_from_the_environment_and_a_file_takes_the_result(site: Site, tmp_path: Path) -> None:
    site.gate.set()
    path = tmp_path / "links.csv"
    env = {"ROOST_DEPTH": "1", "ROOST_FORMAT": "csv", "ROOST_OUTPUT": str(path), "ROOST_ALLOW_PRIVATE": "127.0.0.0/8"}
    done = await crawl(site.url, env=env)
    assert (done.code, done.out) == (0, b"")
    assert len(path.read_text().splitlines()) == 1 + 4
    assert os.listdir(tmp_path) == [path.name]


async def test_wrong_usage_is_said_by_the_process_too() -> None:
    done = await crawl("ftp://example.org")
    assert (done.code, done.out) == (2, b"")
    assert "http" in done.err


async def test_a_crawl_that_could_not_run_exits_1_with_a_sentence(site: Site, tmp_path: Path) -> None:
    refused = await crawl(site.url, "--output", str(tmp_path / "out"))
    assert (refused.code, refused.out) == (1, b"")
    assert "allow its range with --allow-private" in refused.err
    assert os.listdir(tmp_path) == []


async def test_a_server_that_is_away_exits_1_and_says_so() -> None:
    done = await crawl("http://a.example", "--server", "http://127.0.0.1:1")
    assert (done.code, done.out) == (1, b"")
    assert done.err == "roost: cannot reach discovery at http://127.0.0.1:1: connection refused\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_it_gives_what_was_found_and_leaves_nothing_behind(
    site: Site, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "out.json"
    process = await start(site.url, "--depth", "3", *LOOPBACK, "--format", "json", "--output", str(path))
    async with asyncio.timeout(PATIENCE_S):
        await site.slow_asked.wait()
    process.send_signal(number)
    done = await finish(process)
    assert done.code == 130, done.err
    result = json.loads(path.read_bytes())
    assert (result["outcome"], result["truncated"], result["url"]) == ("cancelled", True, site.url)
    assert result["levels"][0] == [site.url]
    assert f"{site.url}a" in result["levels"][1]
    assert os.listdir(tmp_path) == [path.name]
    async with asyncio.timeout(PATIENCE_S):
        await site.slow_left.wait()


async def test_interrupted_twice_it_quits_at_once(
    discovery: Discovery, gateway: ScriptedGateway, tmp_path: Path
) -> None:
    """The gateway hears the cancel and never answers it."""
    await gateway.register(discovery.url)
    path = tmp_path / "out"
    process = await start("http://a.example", "--server", discovery.url, "--output", str(path))
    conversation = await gateway.meet()
    await conversation.welcome()
    submit = await conversation.hear(protocol.Submit)
    await conversation.say(protocol.Accepted(submit.id))
    process.send_signal(signal.SIGINT)
    assert (await conversation.hear(protocol.Cancel)).id == submit.id
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert (done.code, done.out) == (130, b"")
    assert os.listdir(tmp_path) == []


async def test_a_terminal_sees_bars_and_stdout_stays_clean(site: Site) -> None:
    site.gate.set()
    ours, theirs = pty.openpty()
    process = await start(site.url, *LOOPBACK, "--format", "jsonl", env={"TERM": "xterm"}, stderr=theirs)
    os.close(theirs)
    shown = asyncio.create_task(asyncio.to_thread(_read_terminal, ours))
    done = await finish(process)
    terminal = await shown
    assert done.code == 0
    assert [json.loads(line)["level"] for line in done.out.splitlines()] == [0, 1, 1, 1]
    assert "level 0" in terminal
    assert "1/1" in terminal
    assert "done: 2 levels" in terminal


def _read_terminal(descriptor: int) -> str:
    """Everything, until the other side is closed."""
    read = b""
    try:
        while piece := os.read(descriptor, 65536):
            read += piece
    except OSError:
        pass
    os.close(descriptor)
    return read.decode()


async def test_a_reader_that_goes_away_is_no_crash(site: Site) -> None:
    site.gate.set()
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(*ROOST, site.url, *LOOPBACK, stdout=writing, stderr=PIPE)
    os.close(writing)
    os.close(reading)
    done = await finish(process)
    assert "Traceback" not in done.err


async def test_help_teaches_with_examples() -> None:
    done = await crawl("--help")
    assert done.code == 0
    for word in ("Examples", "--allow-private 127.0.0.0/8", "ROOST_DEPTH", "130 interrupted"):
        assert word in done.out.decode()
