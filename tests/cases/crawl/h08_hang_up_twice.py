#!/usr/bin/env python3
"""browsertrix-crawler #132, pulumi/docs #2078; Scrapy's RetryMiddleware (3 attempts), wget (20 tries), lychee (3 retries), Crawlee (3) ask again when a
connection is closed before an answer. Here the third attempt is answered. Expect: page read, nothing failed.
"""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/":
        return reply('<a href="/shy">s</a>')
    if target == "/shy":
        return None if site.count("/shy") < 3 else reply('<a href="/next">n</a>')
    return MISSING


site = Site(answer)
rc, out, err = crawl(site.url, "--depth", "2")
verdict(
    out["failed"] == [] and site.url + "next" in sum(out["levels"], []), rc, out["failed"], "asked", site.count("/shy")
)
