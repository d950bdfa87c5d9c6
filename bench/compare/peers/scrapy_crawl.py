"""A crawl by Scrapy: ``python scrapy_crawl.py URL AT_ONCE HOW``.

It says ``ready`` when its engine runs, waits for a line on standard input, crawls, and prints a JSON object. Cookies,
robots.txt, delays, retries and logs are off, and requests go out breadth first. HOW is ``documented``, with the
`LinkExtractor` that its documentation has for following links, or ``tuned``, with CSS selectors and uvloop.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import scrapy
from scrapy import signals
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response, TextResponse
from scrapy.linkextractors import LinkExtractor

START, AT_ONCE, IS_TUNED = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "tuned"

SETTINGS = {
    "ASYNCIO_EVENT_LOOP": "uvloop.Loop" if IS_TUNED else None,
    "AUTOTHROTTLE_ENABLED": False,
    "CONCURRENT_REQUESTS": AT_ONCE,
    "CONCURRENT_REQUESTS_PER_DOMAIN": AT_ONCE,
    "COOKIES_ENABLED": False,
    "DEPTH_PRIORITY": 1,
    "DOWNLOAD_DELAY": 0,
    "LOG_ENABLED": False,
    "REFERER_ENABLED": False,
    "RETRY_ENABLED": False,
    "ROBOTSTXT_OBEY": False,
    "SCHEDULER_DISK_QUEUE": "scrapy.squeues.PickleFifoDiskQueue",
    "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",
    "TELNETCONSOLE_ENABLED": False,
    "EXTENSIONS": {
        "scrapy.extensions.corestats.CoreStats": None,
        "scrapy.extensions.logstats.LogStats": None,
        "scrapy.extensions.memusage.MemoryUsage": None,
    },
}


class Crawl(scrapy.Spider):
    """Follows all links of the start page's host."""

    name = "crawl"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.start_urls = [START]
        self.allowed_domains = [urlsplit(START).hostname]
        self.seen = {START}
        self.extractor = LinkExtractor()

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **options: Any) -> Crawl:
        """Wait for the word before the first request."""
        spider = super().from_crawler(crawler, *args, **options)
        crawler.signals.connect(spider.wait, signals.spider_opened)
        return spider

    def wait(self) -> None:
        """The engine runs, and nothing was asked yet."""
        print("ready", flush=True)
        sys.stdin.readline()
        self.began = time.perf_counter()

    def parse(self, response: Response) -> Iterator[scrapy.Request]:
        """List the page's links, and follow those that are new."""
        for url in self.links(response):
            if url not in self.seen:
                self.seen.add(url)
                yield scrapy.Request(url)

    def links(self, response: Response) -> Iterator[str]:
        """All of them, without fragments."""
        if IS_TUNED:
            for href in response.css("a::attr(href), area::attr(href)").getall():
                yield response.urljoin(href).partition("#")[0]
        elif isinstance(response, TextResponse):
            for link in self.extractor.extract_links(response):
                yield link.url.partition("#")[0]

    def closed(self, reason: str) -> None:
        """Say what was found, and wait: the processor time is read meanwhile."""
        took_s = time.perf_counter() - self.began
        print(json.dumps({"took_s": took_s, "listed": len(self.seen), "reason": reason}), flush=True)
        sys.stdin.readline()


process = CrawlerProcess(SETTINGS)
process.crawl(Crawl)
process.start()
