"""The crawlers that are measured fetch the same pages, and the server's log has every request."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.compare.crawl import ALONE, SCRAPY, TUNED, crawling, pages_of
from bench.support import processes

pytestmark = [pytest.mark.sites, pytest.mark.slow]

LINKS = {"index.html": "a.html b.html a.html#x", "a.html": "c.html b.html", "b.html": "none.html", "c.html": "a.html"}


def test_every_crawler_fetches_each_page_once_as_the_log_of_the_server_shows(tmp_path: Path) -> None:
    for name, links in LINKS.items():
        (tmp_path / name).write_text("".join(f'<a href="{link}">x</a>' for link in links.split()))
    expected = Counter(f"/{name}" for name in [*LINKS, "none.html"])
    with pages_of(tmp_path) as site:
        for name in (SCRAPY, TUNED, ALONE):
            with crawling(site, name) as crawler:
                before_s = crawler.cpu_s()
                said = json.loads(processes.tell(crawler.process, f"{site.url}index.html 4 0"))
                assert said["took_s"] > 0
                assert crawler.cpu_s() > before_s
            assert site.asked() == expected, name
        assert not site.asked()


def test_processor_time_of_a_session_is_that_of_all_its_processes() -> None:
    code = "import os; os.setsid(); os.fork() or [i for i in range(10**6)]; print('done', flush=True); input()"
    with processes.running([sys.executable, "-c", code]) as busy:
        said = [processes.said(busy), processes.said(busy)]
        assert said == ["done", "done"]
        assert processes.session_cpu_s(busy.pid) >= 0.01
        assert not processes.session_cpu_s(-1)
