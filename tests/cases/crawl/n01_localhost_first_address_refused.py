#!/usr/bin/env python3
"""A name with two addresses of which the first must not be dialled (or nobody listens there): `localhost` is ::1 and 127.0.0.1, the site listens on the second only. Happy eyeballs (RFC 8305); curl, browsers, wget. Expect: crawled."""

from raw_site import *

site = Site(lambda method, target, headers, site: reply('<a href="/next">n</a>') if target == "/" else MISSING)
url = f"http://localhost:{site.port}/"
rc, out, err = crawl(url)
done = subprocess.run(
    [ROOST, "crawl", url, "--allow-private", "127.0.0.0/8", "--format", "json"], capture_output=True, text=True
)
verdict(
    rc == 0 and done.returncode == 0 and out["levels"][1:] == [[url + "next"]],
    rc,
    done.returncode,
    out["levels"],
    err[-200:],
    done.stderr[-200:],
)
