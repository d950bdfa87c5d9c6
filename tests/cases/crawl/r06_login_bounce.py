#!/usr/bin/env python3
"""200 pages that all redirect to one login page, which is also linked (Scrapy, Crawlee threads on redirect targets fetched again and again).
Expect: no failure; the login page asked for not more often than each page redirects plus once. (How often is what is told.)
"""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/":
        return reply("".join(f'<a href="/p{n}">x</a>' for n in range(200)) + '<a href="/login">l</a>')
    if target == "/login":
        return reply('<a href="/">home</a>')
    return reply("", "Location: /login", status="302 Found") if target.startswith("/p") else MISSING


site = Site(answer)
rc, out, err = crawl(site.url, "--depth", "2", "--detail")
verdict(
    not out["failed"] and site.count("/login") <= 201,
    rc,
    "login asked",
    site.count("/login"),
    "times for 201 pages; fetched",
    out["fetched"],
)
