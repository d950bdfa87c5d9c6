#!/usr/bin/env python3
"""GBK, Big5, EUC-KR, Shift_JIS, ISO-2022-JP, KOI8-R pages, declared by meta http-equiv, by charset in quotes, or by XML declaration; UTF-16 by mark only. Text by --select, path in UTF-8, query in the page's encoding."""

from raw_site import *

PAGES = {
    "gbk": ("gbk", "中文"),
    "big5": ("big5", "中文"),
    "euc-kr": ("euc-kr", "한국"),
    "shift_jis": ("shift_jis", "日本"),
    "iso-2022-jp": ("iso2022_jp", "日本"),
    "koi8-r": ("koi8-r", "Привет"),
    "gb2312": ("gb2312", "中文"),
}
from urllib.parse import quote


def answer(method, target, headers, site):
    name = target[1:]
    if target == "/":
        return reply("".join(f'<a href="/{n}">x</a>' for n in [*PAGES, "utf-16"]))
    if name in PAGES:
        codec, word = PAGES[name]
        html = f'<html><head><META http-equiv=Content-Type content="text/html; charset={name}"></head><h1>{word}</h1><a href="/{word}?q={word}">x</a>'
        return reply(html.encode(codec), type="text/html")
    if name == "utf-16":
        return reply("<h1>ü</h1><a href='/ü?q=ü'>x</a>".encode("utf-16"), type="text/html")
    return MISSING


site = Site(answer)
rc, out, err = crawl(site.url, "--depth", "2", "--select", "h=h1")
heads = {p["url"].rpartition("/")[2]: p.get("selected", {}).get("h") for p in out["pages"]}
want = {
    site.url + quote(word) + "?q=" + (quote(word.encode(codec)) if codec != "iso2022_jp" else "?")
    for codec, word in PAGES.values()
} | {site.url + "%C3%BC?q=%C3%BC"}
got = set(out["levels"][2])
wrong = [w for w in want if "?q=?" not in w and w not in got]
bad = {n: heads.get(n) for n, (_, w) in PAGES.items() if heads.get(n) != [w]}
verdict(not wrong and not bad, "missing", wrong, "heads", bad, "got", sorted(got))
