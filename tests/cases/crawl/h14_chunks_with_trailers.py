#!/usr/bin/env python3
"""Chunk extensions, leading zeros in chunk sizes, blanks after them, and trailers. RFC 9112 7.1. Expect: page read on a kept connection."""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/robots.txt":
        return MISSING
    body = b'<a href="/next">n</a>' if target == "/" else b"end"
    return (
        b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n000%x;a=b;c="d"\r\n%b\r\n0\r\nX-T: 1\r\n\r\n'
        % (len(body), body)
    )


site = Site(answer, keep=True)
rc, out, err = crawl(site.url, "--depth", "2")
verdict(out["levels"][1:] == [[site.url + "next"]] and not out["failed"], rc, out["levels"], out["failed"])
