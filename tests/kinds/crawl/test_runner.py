"""Whatever a server does, a page ends in its links or in a reason, and nothing is dialled that must not be."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from roost.backend.kinds.api import RunnerTools
from roost.backend.kinds.crawl.operator_options import CrawlOptions
from roost.backend.kinds.crawl.page_tasks import PageResult, PageTask, read_page_result
from roost.backend.kinds.crawl.runner import INLINE_BYTES, CrawlRunner
from roost.backend.kinds.crawl.spec import start_url
from roost.backend.kinds.crawl.urls import Bounds, Scope
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.codec import pack
from roost.wire.errors import BadInput, DecodeError
from tests.kinds.crawl.crawling import patiently, runners
from tests.kinds.crawl.fetch.hostile import BEHAVIOURS, hostile_site, raw, redirect, response
from tests.kinds.crawl.politeness.caches import NoCache

OPTIONS = CrawlOptions(allow_private=("127.0.0.1",), page_timeout_s=20.0, page_bytes=2_000_000)


@pytest.fixture
async def site() -> AsyncIterator[str]:
    async with hostile_site() as url:
        yield url


async def fetched(
    url: str, options: CrawlOptions = OPTIONS, scope: Scope = Scope.HOST, deadline_s: float = 60
) -> PageResult:
    async with runners(options=options) as workers:
        payload = pack(PageTask(url, Bounds.around(url, scope)))
        return read_page_result(await patiently(workers, payload, deadline_s))


@pytest.mark.slow
@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_whatever_a_server_does_the_page_ends_in_its_reason(site: str, name: str) -> None:
    reason = BEHAVIOURS[name][1]
    quick = replace(OPTIONS, page_timeout_s=0.5) if reason == "timeout" else OPTIONS
    result = await fetched(site + name, quick)
    assert result.reason == reason
    assert result.links == ([] if reason else [site + "next"])


@pytest.mark.slow
async def test_all_of_it_at_once_costs_little_memory_and_disturbs_nobody(site: str) -> None:
    runner = CrawlRunner(RunnerTools(NoCache(), SYSTEM_CLOCK, OPTIONS))

    async def reason(name: str) -> str | None:
        payload = pack(PageTask(site + name, Bounds.around(site, Scope.HOST)))
        deadline_s = 0.5 if BEHAVIOURS[name][1] == "timeout" else 60
        return read_page_result(await patiently([runner], payload, deadline_s)).reason

    await runner.start()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reasons = await asyncio.gather(*map(reason, BEHAVIOURS))
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    await runner.stop()
    assert dict(zip(BEHAVIOURS, reasons, strict=True)) == {name: reason for name, (_, reason) in BEHAVIOURS.items()}
    assert grown_kb < 64 * 1024


async def test_the_deadline_of_the_task_bounds_the_page(site: str) -> None:
    assert (await fetched(site + "silence", deadline_s=0.2)).reason == "timeout"


async def test_redirects_are_counted_hop_by_hop(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for hop in range(1, 5):
        monkeypatch.setitem(BEHAVIOURS, f"hop{hop}", (redirect(f"/hop{hop - 1}" if hop > 1 else "/fine"), None))
    assert (await fetched(site + "hop4", replace(OPTIONS, redirects=4))).links == [site + "next"]
    assert (await fetched(site + "hop4", replace(OPTIONS, redirects=4))).url == site + "fine"
    assert (await fetched(site + "hop4", replace(OPTIONS, redirects=3))).reason == "redirects"
    assert (await fetched(site + "fine", replace(OPTIONS, redirects=0))).links == [site + "next"]


async def test_a_redirect_out_of_scope_is_listed_and_not_followed(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as elsewhere:
        elsewhere.setblocking(False)
        target = f"http://127.0.0.2:{elsewhere.getsockname()[1]}/"
        monkeypatch.setitem(BEHAVIOURS, "away", (redirect(target), None))
        result = await fetched(site + "away", replace(OPTIONS, allow_private=("127.0.0.0/8",)))
        assert (result.reason, result.links, result.status) == (None, [target], 302)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


@pytest.fixture
def private() -> Iterator[socket.socket]:
    """A listener on loopback, reachable by IPv4 and IPv6."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "0x7f000001",
        "2130706433",
        "127.1",
        "localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ],
)
async def test_a_private_address_is_refused_before_anything_is_sent(host: str, private: socket.socket) -> None:
    url = start_url(f"http://{host}:{private.getsockname()[1]}/")
    assert (await fetched(url, CrawlOptions())).reason == "refused_address"
    with pytest.raises(BlockingIOError):
        private.accept()


async def test_a_redirect_to_a_private_address_is_refused(
    site: str, private: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"http://127.0.0.9:{private.getsockname()[1]}/"
    monkeypatch.setitem(BEHAVIOURS, "inside", (redirect(target), None))
    result = await fetched(site + "inside", scope=Scope.ANY)
    assert result.reason == "refused_address"
    with pytest.raises(BlockingIOError):
        private.accept()


async def test_a_name_that_does_not_exist_is_unresolved() -> None:
    assert (await fetched("http://no-such-host.invalid/")).reason == "unresolved"
    assert (await fetched(f"http://{'x' * 70}.invalid/")).reason == "unresolved"
    assert (await fetched("http://a..b/")).reason == "unresolved"


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert (await fetched(f"http://127.0.0.1:{port}/")).reason == "unreachable"


async def test_a_server_without_tls_on_https_is_a_tls_failure() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await fetched(f"https://127.0.0.1:{port}/")).reason == "tls"


@pytest.mark.parametrize("content_type", ["image/png", "application/pdf", "text/plain; x=text/html", "", "nonsense"])
async def test_other_types_are_fetched_and_not_parsed(
    site: str, content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = response(b"<a href=x>", "200 OK", f"Content-Type: {content_type}")
    monkeypatch.setitem(BEHAVIOURS, "other", (raw(answer), None))
    result = await fetched(site + "other")
    assert (result.reason, result.status, result.links) == (None, 200, [])


async def test_a_page_is_read_in_the_encoding_of_its_header(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "<meta charset=utf-8><a href='?é'>".encode("latin-1")
    answer = response(page, "200 OK", "Content-Type: Text/HTML;Charset=ISO-8859-1")
    monkeypatch.setitem(BEHAVIOURS, "latin", (raw(answer), None))
    assert (await fetched(site + "latin")).links == [site + "latin?%E9"]


async def test_a_big_page_leaves_the_loop_to_others(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = b"<p>" * INLINE_BYTES + b"<a href=end>"
    monkeypatch.setitem(BEHAVIOURS, "big", (raw(response(page)), None))
    assert (await fetched(site + "big")).links == [site + "end"]


async def test_a_cancelled_page_leaves_nothing_behind(site: str) -> None:
    runner = CrawlRunner(RunnerTools(NoCache(), SYSTEM_CLOCK, OPTIONS))
    await runner.start()
    task = asyncio.create_task(runner.run(pack(PageTask(site + "silence", Bounds.around(site, Scope.HOST))), 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await runner.stop()
    await runner.stop()


async def test_a_payload_that_is_no_task_is_refused() -> None:
    runner = CrawlRunner(RunnerTools(NoCache(), SYSTEM_CLOCK))
    with pytest.raises(DecodeError):
        await runner.run(b"nonsense", 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"allow_private": ("everything",)},
        {"user_agent": ""},
        {"user_agent": "two\r\nlines: 1"},
        {"page_timeout_s": 0.0},
        {"page_bytes": 0},
        {"redirects": -1},
        {"at_once_per_host": 0},
        {"contact": "two\nlines"},
    ],
)
def test_options_that_make_no_sense_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        CrawlOptions(**fields)  # type: ignore[arg-type]
