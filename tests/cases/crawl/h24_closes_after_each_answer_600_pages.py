#!/usr/bin/env python3
"""The same with 600 pages, three times: the one retry that aiohttp makes by itself may meet a second connection that is closed already. Firefox, curl, wget (which look whether a kept connection is still open, and open a new one on failure) lose none. Expect: none of 1,800 fails."""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/":
        return reply("".join(f'<a href="/{n}">{n}</a>' for n in range(600)))
    return reply("x") if target != "/robots.txt" else MISSING


lost = []
for _ in range(3):
    site = Site(answer)
    rc, out, err = crawl(site.url, "--depth", "2")
    lost += out["failed"]
verdict(not lost, len(lost), "of 1800 failed", {f["reason"] for f in lost})
