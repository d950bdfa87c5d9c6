#!/usr/bin/env python3
"""XHTML with <script src="x"/> and <title/>: links of it are found (there is a test), but what --select extracts? Browsers and lxml's XML parser see the heading. Expect: "Head"."""

from raw_site import *


def answer(method, target, headers, site):
    return (
        reply(
            '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="x.js"/></head><body><h1>Head</h1><a href="/next">n</a></body></html>',
            type="application/xhtml+xml",
        )
        if target == "/"
        else MISSING
    )


site = Site(answer)
rc, out, err = crawl(site.url, "--select", "h=h1")
verdict(
    out["pages"][0].get("selected") == {"h": ["Head"]} and out["levels"][1:] == [[site.url + "next"]],
    out["pages"][0].get("selected"),
    out["levels"][1:],
)
