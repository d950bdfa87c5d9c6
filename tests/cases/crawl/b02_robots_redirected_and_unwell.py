#!/usr/bin/env python3
"""robots.txt behind redirects (also to another host), in a redirect loop, 401, 403, 500 once, an empty 204, gzip. RFC 9309 2.3.1: redirects followed, 4xx forbids nothing, 5xx forbids.
Expect: crawled, crawled, crawled, crawled, left alone (exit 1, said), crawled, heeded.
"""

from raw_site import *

far = Site(lambda method, target, headers, site: reply("User-agent: *\nDisallow: /no", type="text/plain"), "127.0.2.9")


def robots(kind):
    if kind == "moved":
        return reply("", f"Location: {far.url}r.txt", status="301 Moved")
    if kind == "loop":
        return reply("", "Location: /robots.txt", status="302 Found")
    if kind in ("401", "403", "500"):
        return reply("", status=kind + " X")
    if kind == "204":
        return b"HTTP/1.1 204 No Content\r\n\r\n"
    return reply(gzip.compress(b"User-agent: *\nDisallow: /no"), "Content-Encoding: gzip", type="text/plain")


got = {}
for kind in ("moved", "loop", "401", "403", "500", "204", "gzip"):

    def answer(method, target, headers, site, kind=kind):
        return (
            robots(kind)
            if target == "/robots.txt"
            else reply('<a href="/no">n</a><a href="/yes">y</a>')
            if target == "/"
            else reply("x")
        )

    site = Site(answer, "127.0.2.1")
    rc, out, err = crawl(site.url, "--depth", "2")
    got[kind] = (rc, site.count("/yes"), site.count("/no"))
    site.socket.close()
want = {
    "moved": (0, 1, 0),
    "loop": (0, 1, 1),
    "401": (0, 1, 1),
    "403": (0, 1, 1),
    "500": (1, 0, 0),
    "204": (0, 1, 1),
    "gzip": (0, 1, 0),
}
verdict(got == want, {k: got[k] for k in want if got[k] != want[k]})
