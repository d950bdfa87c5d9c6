"""Whatever text a client puts into whatever field, a gateway reads it with a bounded amount of work.

The texts are those that are known to keep regular expressions, parsers of CSS and of URLs, and decoders busy. Some are
accepted and some are refused: here it only matters that they are read.
"""

from __future__ import annotations

import contextlib
import json

import pytest

from roost.backend.kinds.crawl.globs import MAX_GLOBS
from roost.backend.kinds.crawl.html.selection import MAX_CSS_CHARS, MAX_SELECTIONS
from roost.backend.kinds.crawl.spec import CrawlSpec, read_spec
from roost.wire.errors import BadInput
from roost.wire.messages.client import read_from_client
from tests.kinds.crawl.html.limited import in_seconds
from tests.kinds.crawl.html.test_css import HOSTILE

pytestmark = pytest.mark.slow

MESSAGE_CHARS = 60_000
"""About as much as a gateway reads of one message."""
GLOBS = [
    "*" + "a*" * 249,
    "/" + "*a" * 240 + "b",
    "*" + "a" * 200 + "b" + "a" * 200 + "*",
    "*" * MESSAGE_CHARS,
    "/" + "ü" * 20_000,
    "*" + "?[a-" * 100,
    "(a+)+$" * 50,
]
HOSTS = [
    "a\u0301\u0323" * 20_000,
    "\u0301\u0323" * 3_900,
    "".join(map(chr, range(0x4E00, 0x4E00 + 15_000))),
    "xn--" + "a" * 7_900,
    "xn--a-ecp." * 700,
    "a." * 30_000,
    "a:11111" * 8_000,
    "a@" * 30_000,
    "%C3%BC" * 10_000,
    "[" + ":" * 50_000 + "]",
    "1" + "0" * 50_000,
    "0x" + "f." * 20_000,
    "\t" * 50_000 + "ü" * 3_000,
]
URLS = [
    f"{start}{host}{end}" for host in HOSTS for start in ("http://", "ht\ntp:") for end in ("", "/", ":1" + " " * 900)
]
URLS += [f"http://h/{path}" for path in ("../" * 19_000, "a/" * 9_000 + "../" * 9_000, "ü" * 20_000, "?" * 50_000)]
URLS += [" " * MESSAGE_CHARS, "http" * 15_000, "h:" * 30_000, "http://h:" + "1" * 50_000 + "x", "\\" * MESSAGE_CHARS]
TEXTS = [*HOSTILE, *GLOBS, *URLS, "(a+)+" * 9_000, "a" * MESSAGE_CHARS, "\0" * 9_000, "9" * MESSAGE_CHARS, "é" * 9_000]
RAW = [
    b"[" * MESSAGE_CHARS,
    b'{"a":' * 10_000,
    b'{"url":' * 8_000,
    b'{"url":"http://h/","depth":' + b"9" * MESSAGE_CHARS + b"}",
    b'{"url":"http://h/","max_age_s":1e' + b"9" * MESSAGE_CHARS + b"}",
    b'{"url":"http://h/","max_age_s":0.' + b"1" * MESSAGE_CHARS + b"}",
    b'{"url":"http://h/","select":' + b"[" * MESSAGE_CHARS,
    b'{"url":"http://h/","include":[' + b'"",' * 15_000 + b'""]}',
    b'{"url":"http://h/","select":{' + b",".join(b'"a%d":"a"' % n for n in range(5_000)) + b"}}",
    b'{"url":"' + b"\\ud800" * 9_000 + b'"}',
]


def read(spec: bytes) -> None:
    with contextlib.suppress(BadInput):
        read_spec(spec)
    with contextlib.suppress(BadInput):
        read_from_client(b'{"type":"submit","id":"x","kind":"crawl","spec":' + spec + b"}")


def read_all() -> None:
    for field in CrawlSpec.__struct_fields__:
        for text in TEXTS:
            for value in (text, [text], {"it": text}, {text: "h1"}):
                read(json.dumps({"url": "http://h/"} | {field: value}).encode())
    for spec in RAW:
        read(spec)


def read_as_many_as_allowed() -> None:
    for text in HOSTILE:
        select = {f"n{n}": text[:MAX_CSS_CHARS] for n in range(MAX_SELECTIONS)}
        read(json.dumps({"url": "http://h/", "select": select}).encode())
    for glob in GLOBS:
        globs = [f"{glob[:450]}{n}" for n in range(MAX_GLOBS)]
        read(json.dumps({"url": "http://h/", "include": globs, "exclude": globs}).encode())


def read_messages() -> None:
    for text in TEXTS:
        for kind, field in (
            ("hello", "session"),
            ("submit", "id"),
            ("submit", "kind"),
            ("ack", "id"),
            ("cancel", "id"),
        ):
            message = {"type": kind, "id": "x", "kind": "crawl", "spec": {}} if kind == "submit" else {"type": kind}
            with contextlib.suppress(BadInput):
                read_from_client(json.dumps(message | {field: text}))
    for raw in RAW:
        for begin in (b"", b'{"type":"resume","ids":', b'{"type":'):
            with contextlib.suppress(BadInput):
                read_from_client(begin + raw)


def test_any_text_in_any_field_of_a_spec_is_read_in_bounded_time() -> None:
    in_seconds(10, read_all)


def test_as_many_selectors_and_patterns_as_are_allowed_are_read_in_bounded_time() -> None:
    in_seconds(2, read_as_many_as_allowed)


def test_any_text_in_any_message_is_read_in_bounded_time() -> None:
    in_seconds(2, read_messages)
