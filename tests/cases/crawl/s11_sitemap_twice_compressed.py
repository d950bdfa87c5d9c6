#!/usr/bin/env python3
"""A .xml.gz file sent with Content-Encoding: gzip on top of the file's own compression (Scrapy #951-like, USP, crawler-commons threads): peers unpack both. Expect: page listed."""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/s.xml.gz":
        return reply(
            gzip.compress(gzip.compress(f"<urlset><url><loc>{site.url}one</loc></url></urlset>".encode())),
            "Content-Encoding: gzip",
            type="application/x-gzip",
        )
    if target == "/robots.txt":
        return reply("Sitemap: /s.xml.gz", type="text/plain")
    return reply("x") if target == "/" else MISSING


site = Site(answer)
rc, out, err = crawl(site.url, "--sitemaps")
verdict(out["levels"][1:] == [[site.url + "one"]], out["levels"], out["failed"])
