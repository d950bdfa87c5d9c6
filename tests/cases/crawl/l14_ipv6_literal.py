#!/usr/bin/env python3
"""http://[::1]:port/ with links relative, absolute and in another spelling of the address ([0:0:0:0:0:0:0:1]). muffet/lychee/aiohttp threads. Expect: crawled, spellings are one."""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/":
        return reply(
            f'<a href="/a">a</a><a href="http://[0:0:0:0:0:0:0:1]:{site.port}/a">a</a><a href="http://[::0:1]:{site.port}/b">b</a>'
        )
    return reply(headers.get("host", "")) if target != "/robots.txt" else MISSING


site = Site(answer, "::1")
rc, out, err = crawl(site.url, "--depth", "2")
verdict(
    out["levels"][1:] == [[site.url + "a", site.url + "b"]] and out["fetched"] == 3,
    rc,
    out["levels"],
    out["failed"],
    err[-200:],
)
