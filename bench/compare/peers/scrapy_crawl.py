"""Crawls a site with Scrapy, for `bench.compare.crawl`: ``python scrapy_crawl.py URL AT_ONCE HOW``.

AT_ONCE is the number of concurrent requests. HOW is ``documented``, with the `LinkExtractor` that Scrapy's
documentation recommends for following links, or ``tuned``, with CSS selectors and uvloop. Cookies, robots.txt, delays,
retries and logs are off, and requests are sent breadth first.

The program prints ``ready`` when the engine of Scrapy runs, waits for a line on standard input, crawls, and prints a
JSON object. Then it waits for another line before it ends.
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
        """Create the spider so that it waits for a line on standard input before its first request."""
        spider = super().from_crawler(crawler, *args, **options)
        crawler.signals.connect(spider.wait, signals.spider_opened)
        return spider

    def wait(self) -> None:
        """Print ``ready`` and wait for a line. The engine runs already, but no request was sent yet."""
        print("ready", flush=True)
        sys.stdin.readline()
        self.began = time.perf_counter()

    def parse(self, response: Response) -> Iterator[scrapy.Request]:
        """Return a request for each link on the page that was not seen before."""
        for url in self.links(response):
            if url not in self.seen:
                self.seen.add(url)
                yield scrapy.Request(url)

    def links(self, response: Response) -> Iterator[str]:
        """Return the URLs of all links on the page, without fragments."""
        if IS_TUNED:
            for href in response.css("a::attr(href), area::attr(href)").getall():
                yield response.urljoin(href).partition("#")[0]
        elif isinstance(response, TextResponse):
            for link in self.extractor.extract_links(response):
                yield link.url.partition("#")[0]

    def closed(self, reason: str) -> None:
        """Print the result, and wait for a line: meanwhile the benchmark reads the processor time of this process."""
        took_s = time.perf_counter() - self.began
        print(json.dumps({"took_s": took_s, "listed": len(self.seen), "reason": reason}), flush=True)
        sys.stdin.readline()


process = CrawlerProcess(SETTINGS)
process.crawl(Crawl)
process.start()
