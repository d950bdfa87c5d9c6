#!/usr/bin/env python3
"""Comments (also conditional ones), templates, noscript, script strings, textarea, broken nesting, forms: links that a browser without scripts would follow, and no others. GET forms without fields are links for
Nutch and Heritrix, not here.
"""

from raw_site import *

HTML = """<!--[if IE]><a href=/no1>x</a><![endif]--><![if !IE]><a href=/yes1>x</a><![endif]><template><a href=/no2>x</a></template><noscript><a href=/yes2>x</a><meta http-equiv=refresh content='0;url=/yes3'></noscript>
<script>document.write('<a href=/no3>x</a>')</script><textarea><a href=/no4></textarea><a href=/yes4<b>x</a><a
href = "
/yes5
">x</a><map><area href=/yes6></map><a href='/ye\ts7'>x</a><table><a href=/yes8></table><svg><style><a href=/yes9></style></svg><select><option><a href=/yes10></select><object data=/no5></object><a href="java\nscript:alert(1)">x</a><a href=tel:1>x</a><a href="">self</a>"""


def answer(method, target, headers, site):
    return reply(HTML) if target == "/" else MISSING


site = Site(answer)
rc, out, err = crawl(site.url)
found = [u[len(site.url) :] for u in sum(out["levels"][1:], [])]
want = ["yes1", "yes2", "yes3", "yes4%3Cb", "yes5", "yes6", "yes7", "yes8", "yes9", "yes10"]
verdict(not [f for f in found if f.startswith("no")] and set(want) - {"yes9", "yes10"} <= set(found), found)
