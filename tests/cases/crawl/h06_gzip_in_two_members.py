#!/usr/bin/env python3
"""RFC 1952 2.2: a gzip file is a series of members. A page in two members (server that flushes by finishing a member):
urllib3/requests, wget, Scrapy read both. Expect: the link of the second member is found, or at least the page says it was cut.
"""

from raw_site import *


def answer(method, target, headers, site):
    body = gzip.compress(b'<a href="/one">1</a>') + gzip.compress(b'<a href="/two">2</a>')
    return reply(body, "Content-Encoding: gzip") if target == "/" else MISSING


site = Site(answer)
rc, out, err = crawl(site.url)
verdict(
    out["levels"][1:] == [[site.url + "one", site.url + "two"]],
    rc,
    out["levels"],
    out["failed"],
    out.get("truncated"),
    err[-300:],
)
