#!/usr/bin/env python3
"""The same, once: aiohttp asks again by itself."""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/":
        return reply('<a href="/shy">s</a>')
    if target == "/shy":
        return None if site.count("/shy") < 2 else reply('<a href="/next">n</a>')
    return MISSING


site = Site(answer)
rc, out, err = crawl(site.url, "--depth", "2")
verdict(
    out["failed"] == [] and site.url + "next" in sum(out["levels"], []), rc, out["failed"], "asked", site.count("/shy")
)
