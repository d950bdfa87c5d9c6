#!/usr/bin/env python3
"""--max-pages is exact: of 100 linked pages, with a redirect each second time and a page that fails, no more than 7 pages are taken up. Expect: at most 7 distinct start URLs asked for."""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/":
        return reply("".join(f'<a href="/{n}">x</a>' for n in range(100)))
    if target == "/robots.txt":
        return MISSING
    if target.startswith("/t"):
        return reply("x")
    number = int(target[1:])
    return (
        reply("", f"Location: /t{number}", status="302 Found")
        if number % 2
        else MISSING
        if number == 2
        else reply('<a href="/z">z</a>')
    )


site = Site(answer)
rc, out, err = crawl(site.url, "--depth", "3", "--max-pages", "7")
asked = {t for _, t in site.asked} - {"/robots.txt"}
verdict(
    sum(not t.startswith("/t") for t in asked) == 7 and out["truncated"],
    sorted(asked),
    out["truncated"],
    err.strip()[-200:],
)
