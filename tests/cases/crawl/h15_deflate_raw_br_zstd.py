#!/usr/bin/env python3
"""deflate without zlib's header (old IIS), brotli and zstd sent unasked by a cache (Scrapy #2389-like, awesome_bot #140). Expect: all read."""

from raw_site import *


def packed(name):
    body = f'<a href="/from-{name}">n</a>'.encode()
    if name == "raw":
        packer = zlib.compressobj(wbits=-15)
        return "deflate", packer.compress(body) + packer.flush()
    if name == "br":
        return "br", bytes.fromhex("0b%02x80" % ((len(body) - 1) // 2 if False else 0)) if False else __import__(
            "brotli"
        ).compress(body)
    return "zstd", __import__("backports.zstd", fromlist=["compress"]).compress(body)


def answer(method, target, headers, site):
    if target == "/":
        return reply("".join(f'<a href="/{n}">x</a>' for n in ("raw", "br", "zstd")))
    if target[1:] in ("raw", "br", "zstd"):
        coding, body = packed(target[1:])
        return reply(body, f"Content-Encoding: {coding}")
    return MISSING


site = Site(answer)
rc, out, err = crawl(site.url, "--depth", "2")
found = {url.rpartition("/from-")[2] for url in (out["levels"] + [[], [], []])[2]}
verdict(found == {"raw", "br", "zstd"}, found, out["failed"])
