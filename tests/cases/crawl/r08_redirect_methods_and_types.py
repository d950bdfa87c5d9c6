#!/usr/bin/env python3
"""303, 307, 308, and 301 with a body that is HTML and links elsewhere: targets are read, bodies of redirects are not. Expect: that."""

from raw_site import *


def answer(method, target, headers, site):
    if target == "/":
        return reply("".join(f'<a href="/{n}">x</a>' for n in (301, 303, 307, 308)))
    if target[1:] in ("301", "303", "307", "308"):
        return reply('<a href="/trap">t</a>', f"Location: /t{target[1:]}", status=f"{target[1:]} X")
    return reply(f'<a href="/n{target[2:]}">x</a>') if target.startswith("/t3") else MISSING


site = Site(answer)
rc, out, err = crawl(site.url, "--depth", "2")
verdict(
    {u.rpartition("/")[2] for u in out["levels"][2]} == {"n301", "n303", "n307", "n308"},
    out["levels"][2:],
    out["failed"],
)
