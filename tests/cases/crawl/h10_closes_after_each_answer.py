#!/usr/bin/env python3
"""A server that closes each connection after its answer without saying so (Colly, Scrapy and aiohttp have threads on stale keep-alive
connections). 60 pages. Expect: none fails.
"""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/":
        return reply("".join(f'<a href="/{n}">{n}</a>' for n in range(60)))
    return reply("x") if target != "/robots.txt" else MISSING


site = Site(answer)
rc, out, err = crawl(site.url, "--depth", "2")
verdict(out["failed"] == [] and out["fetched"] == 61, rc, out["fetched"], out["failed"][:3])
