"""``python -m bench crawl``: pages per second and per second of processor time, beside Scrapy.

Each crawler fetches the same site, a manual of 1,169 pages, from a server on another processor: eight concurrent
requests, without robots.txt, delay, cookies and retries. The server's log shows what was fetched. Scrapy is measured as
its documentation configures a broad crawl (`LinkExtractor`), and with everything that makes it faster (CSS selectors,
uvloop). For Roost, ``one process`` is the whole system with its client, from the request to the result. Then its
components run over RabbitMQ and Redis, and the processor time of the fetching worker is reported apart from that of all
others, engines included.

Last, it measures repeated requests: those of a deeper crawl after a shallower one, and those of a crawl whose master
was killed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.compare.servers import ROOT
from bench.report import Report
from bench.support import processes, services
from bench.support.processes import LOAD_CPUS, SERVER_CPUS
from bench.support.rounds import Row, medians, take_turns
from bench.support.sites import POSTGRESQL

START, DEPTH = "index.html", 3
"""The start page, and the depth at which a crawl fetches the whole manual."""
AT_ONCE = 8
GOAL = 5.0
AGAIN = 0.05
KILLED_AT = 500
Process = subprocess.Popen[str]

SCRAPY, TUNED = "Scrapy", "Scrapy, made fast"
ALONE, WORKER, WORKERS = "Roost, one process", "Roost, one worker", "Roost, two workers"
COLUMNS = ("pages", "pages/s", "pages/CPU s", "of all parts", "CPU ms a page")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    parser.add_argument("--without-engines", action="store_true", help="leave RabbitMQ and Redis out")


@dataclass
class Site:
    """The server with the pages."""

    process: Process
    url: str

    def asked(self) -> Counter[str]:
        """Return how often each path was requested since the last call."""
        return Counter(json.loads(processes.tell(self.process, "asked")))


@dataclass
class Crawler:
    """A crawler: the process that takes commands, processes that fetch, all others, and sessions of engines."""

    process: Process
    fetching: Sequence[int]
    discovery: str = ""
    others: Sequence[int] = ()
    sessions: Sequence[int] = ()

    def cpu_s(self) -> tuple[float, float]:
        """Return the processor time so far of the fetching processes, and of all."""
        own_s = sum(processes.cpu(pid).total_s for pid in self.fetching)
        others_s = sum(processes.cpu(pid).total_s for pid in self.others)
        return own_s, own_s + others_s + sum(map(processes.session_cpu_s, self.sessions))


def run(options: argparse.Namespace) -> Report:
    """Measure."""
    report = Report("A crawl of the PostgreSQL manual, eight requests at a time")
    names = [ALONE] if options.without_engines else [ALONE, WORKER, WORKERS]
    peers = [SCRAPY, TUNED] if find_spec("scrapy") else []
    if not peers:
        report.remarks.append("LEFT OUT: Scrapy is not installed: make setup")
    with pages_of(POSTGRESQL) as site:
        found = take_turns([*peers, *names], options.rounds, lambda name: _round(site, name))
        report.add_rounds(found, "crawler")
        if peers:
            _compare(report, {name: medians(rows) for name, rows in found.items()})
        _deeper(report, site)
        if not options.without_engines:
            _take_over(report, site)
    report.remarks.append(f"medians of {options.rounds} rounds; one processor crawls, the other has the pages")
    return report


@contextmanager
def pages_of(folder: Path) -> Iterator[Site]:
    """Run a server with this folder."""
    with _python("-m", "bench.compare.static_site", str(folder), cpus=LOAD_CPUS) as process:
        yield Site(process, processes.said(process))


def _python(*arguments: str, cpus: frozenset[int] = SERVER_CPUS) -> processes.Running:
    return processes.running([sys.executable, *arguments], cpus)


def _round(site: Site, name: str) -> Row:
    with crawling(site, name) as crawler:
        own_s, all_s = crawler.cpu_s()
        processes.order(crawler.process, f"{site.url}{START} {DEPTH} 0")
        took_s = json.loads(processes.said(crawler.process))["took_s"]
        own_s, all_s = (now - then for now, then in zip(crawler.cpu_s(), (own_s, all_s), strict=True))
    pages = site.asked().total()
    return dict(zip(COLUMNS, (pages, pages / took_s, pages / own_s, pages / all_s, own_s / pages * 1e3), strict=True))


@contextmanager
def crawling(site: Site, name: str) -> Iterator[Crawler]:
    """Run the crawler of that name."""
    with ExitStack() as stack:
        if name in (SCRAPY, TUNED):
            script = str(ROOT / "bench/compare/peers/scrapy_crawl.py")
            how = "tuned" if name == TUNED else "documented"
            process = stack.enter_context(_python(script, site.url + START, str(AT_ONCE), how))
            processes.said(process)
            yield Crawler(process, [process.pid])
        elif name == ALONE:
            process = stack.enter_context(_python("-m", "bench.compare.crawl_process", "alone"))
            processes.said(process)
            yield Crawler(process, [process.pid])
        else:
            yield _parts(stack, "rest", workers=2 if name == WORKERS else 1)


def _parts(stack: ExitStack, role: str, workers: int) -> Crawler:
    """Run a deployment over real engines, with an empty cache; the first worker has its own processor."""
    engines = services.rabbitmq(), services.redis()
    services.say(services.redis().port, b"FLUSHALL\r\n")
    rest = stack.enter_context(_python("-m", "bench.compare.crawl_process", role, *_urls(), cpus=LOAD_CPUS))
    discovery = processes.said(rest)
    made = [_part(stack, "worker", discovery, cpus).pid for cpus in (SERVER_CPUS, LOAD_CPUS)[:workers]]
    return Crawler(rest, made, discovery, [rest.pid], [engine.pid for engine in engines])


def _part(stack: ExitStack, role: str, discovery: str, cpus: frozenset[int] = LOAD_CPUS) -> Process:
    """Run a process of the deployment."""
    process = stack.enter_context(_python("-m", "bench.compare.crawl_process", role, *_urls(), discovery, cpus=cpus))
    processes.said(process)
    return process


def _urls() -> tuple[str, str]:
    return services.rabbitmq().url, services.redis().url


def _compare(report: Report, found: dict[str, dict[str, float]]) -> None:
    for name in (name for name in found if name not in (SCRAPY, TUNED)):
        ratios = [found[name]["pages/CPU s"] / found[peer]["pages/CPU s"] for peer in (SCRAPY, TUNED)]
        report.remarks.append(
            f"{name}: pages/CPU s {ratios[0]:.1f} times those of {SCRAPY}, {ratios[1]:.1f} of {TUNED}"
        )
    ratio = found[ALONE]["pages/CPU s"] / found[SCRAPY]["pages/CPU s"]
    report.require(f"the whole system in one process: {GOAL:g} times Scrapy's pages/CPU s", ratio >= GOAL)
    if WORKERS in found:
        more = found[WORKERS]["pages/s"] / found[WORKER]["pages/s"] - 1
        report.remarks.append(
            f"a second worker adds {more:.0%} to the pages/s of one; it shares its processor with the rest"
        )


def _deeper(report: Report, site: Site) -> None:
    """Measure the requests of a crawl to level 3 after one to level 2."""
    with crawling(site, ALONE) as crawler:
        asked = []
        for depth in (DEPTH - 1, DEPTH):
            said = json.loads(processes.tell(crawler.process, f"{site.url}{START} {depth} 300"))
            asked.append(site.asked())
    level = {url.removeprefix(site.url) for url in said["levels"][DEPTH - 1] if url.startswith(site.url)}
    is_frugal = asked[1] == Counter(f"/{path}" for path in level)
    report.require(f"a crawl to level {DEPTH} after one to level {DEPTH - 1} fetches level {DEPTH - 1} only", is_frugal)
    report.remarks.append(
        f"deeper: {asked[0].total()} pages fetched, then {asked[1].total()} of {len(level)} in the level"
    )


def _take_over(report: Report, site: Site) -> None:
    """Measure repeated fetches when the master is killed in the middle of a crawl."""
    with ExitStack() as stack:
        crawler = _parts(stack, "hall", workers=1)
        master = _part(stack, "master", crawler.discovery)
        processes.order(crawler.process, f"{site.url}{START} {DEPTH} 0")
        asked: Counter[str] = Counter()
        while asked.total() < KILLED_AT:
            asked += site.asked()
        master.kill()
        asked += site.asked()
        before = asked.total()
        _part(stack, "master", crawler.discovery)
        fetched = json.loads(processes.said(crawler.process))["fetched"]
        asked += site.asked()
    again = asked.total() - len(asked)
    report.require(
        f"a take-over fetches at most {AGAIN:.0%} again", again <= AGAIN * fetched and fetched == len(asked) > before
    )
    report.remarks.append(f"take-over: the master was killed after {before} of {fetched} pages; {again} fetched again")
