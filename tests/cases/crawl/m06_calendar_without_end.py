#!/usr/bin/env python3
"""A calendar that links to the next month for ever, each with a session in its URL, at depth 32 with --max-pages 200. Expect: ends, at most 200 pages, says that it was cut (or that depth ended it)."""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/robots.txt":
        return MISSING
    month = int(target.partition("m=")[2].partition("&")[0] or 0)
    return reply("".join(f'<a href="/cal?m={month + k}&sid={month * 7 + k}{len(site.asked)}">n</a>' for k in (1, 2, 3)))


site = Site(answer)
began = time.time()
rc, out, err = crawl(site.url, "--depth", "32", "--max-pages", "200", timeout=100)
verdict(
    rc == 0 and len(site.asked) <= 201 and out["truncated"],
    rc,
    len(site.asked),
    out["fetched"],
    f"{time.time() - began:.1f} s",
)
