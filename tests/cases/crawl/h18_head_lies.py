#!/usr/bin/env python3
"""HEAD answered 404, 403, 405, 500, 501 or by hanging up where GET is answered 200 (linkcheck #8, gradle/guides #308). --check: nothing is broken."""

from raw_site import *

HEADS = [
    "404 Not Found",
    "403 Forbidden",
    "405 Method Not Allowed",
    "501 Not Implemented",
    "400 Bad Request",
    "500 Internal Server Error",
    "",
]


def answer(method, target, headers, site):
    if target == "/":
        return reply("".join(f'<a href="/{n}">x</a>' for n in range(len(HEADS))))
    if target == "/robots.txt":
        return MISSING
    if method == "HEAD":
        status = HEADS[int(target[1:])]
        return reply("", status=status) if status else None
    return reply("fine")


site = Site(answer)
rc, out, err = crawl(site.url, "--check")
verdict(out.get("broken") == [] and rc == 0, rc, out.get("broken"), out.get("checked"))
