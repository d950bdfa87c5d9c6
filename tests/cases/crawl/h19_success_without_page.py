#!/usr/bin/env python3
"""204, 205, 203, 206 and a 200 with nothing in it: no failure, no link. Then --check has nothing broken."""

from raw_site import *

ANSWERS = {
    "/204": ("204 No Content", ""),
    "/205": ("205 Reset Content", ""),
    "/203": ("203 Non-Authoritative", "x"),
    "/206": ("206 Partial Content", "<a href=/p>p</a>"),
    "/200": ("200 OK", ""),
}


def answer(method, target, headers, site):
    if target == "/":
        return reply("".join(f'<a href="{n}">x</a>' for n in ANSWERS))
    if target in ANSWERS:
        status, body = ANSWERS[target]
        if status[:3] == "204":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        return reply("" if method == "HEAD" else body, status=status)
    return MISSING


site = Site(answer)
rc, out, err = crawl(site.url, "--depth", "2", "--detail")
statuses = {p["url"].rpartition("/")[2]: p["status"] for p in out["pages"]}
verdict(out["failed"] == [] and statuses.get("204") == 204 and out["fetched"] == 6, rc, out["failed"], statuses)
