"""A spec means one thing, and whatever is wrong with one is said in a sentence."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from roost.backend.kinds.crawl.globs import MAX_GLOB_CHARS, MAX_GLOBS
from roost.backend.kinds.crawl.spec import MAX_DEPTH, CrawlSpec, read_spec, unpack_spec
from roost.backend.kinds.crawl.urls import MAX_HOST_CHARS, MAX_URL_CHARS, Scope
from roost.wire.codec import pack
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput


def spec(**fields: object) -> CrawlSpec:
    return read_spec(json.dumps({"url": "http://example.org/"} | fields).encode())


def refused(text: bytes) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read_spec(text)
    assert caught.value.message
    return caught.value


def test_a_url_alone_is_enough() -> None:
    assert spec() == CrawlSpec("http://example.org/", 1, Scope.HOST, 10_000, 300.0, 3600.0)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HTTP://EXAMPLE.org:80/a/../b?q=2&p=1#part", "http://example.org/b?q=2&p=1"),
        ("  https://example.org\n", "https://example.org/"),
        ("https://bücher.example/ü?ü", "https://xn--bcher-kva.example/%C3%BC?%C3%BC"),
        ("http://0x7f.1:8000", "http://127.0.0.1:8000/"),
        ("http:\\\\example.org\\a", "http://example.org/a"),
        ("http://[0:0::1]/", "http://[::1]/"),
    ],
)
def test_a_url_is_serialised_as_the_standard_says(written: str, meant: str) -> None:
    assert spec(url=written).url == meant


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "example.org",
        "//example.org/",
        "http://",
        "http://exa mple.org/",
        "http://example.org:99999/",
        "http://[::1/",
        "ftp://example.org/",
        "javascript:alert(1)",
        "localhost:8000/",
        "file:///etc/passwd",
        "http://user@example.org/",
        "http://user:secret@example.org/",
        "http://example.org/\0",
        "http://" + "ü" * (MAX_HOST_CHARS + 1),
        "http://example.org/" + "x" * MAX_URL_CHARS,
        "http://example.org/" + "ü" * (MAX_URL_CHARS // 3),
    ],
)
def test_a_url_that_cannot_be_crawled_is_refused_with_advice(url: str) -> None:
    assert refused(json.dumps({"url": url}).encode()).code == ErrorCode.BAD_URL


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not json",
        b"null",
        b"[]",
        b'"http://example.org/"',
        b"{}",
        b'{"url": 5}',
        b'{"url": "http://example.org/", "deepness": 2}',
        b'{"url": "http://example.org/", "depth": -1}',
        b'{"url": "http://example.org/", "depth": 33}',
        b'{"url": "http://example.org/", "depth": 1e300}',
        b'{"url": "http://example.org/", "depth": 10000000000000000000000000}',
        b'{"url": "http://example.org/", "depth": "2"}',
        b'{"url": "http://example.org/", "depth": true}',
        b'{"url": "http://example.org/", "depth": 1.5}',
        b'{"url": "http://example.org/", "depth": null}',
        b'{"url": "http://example.org/", "scope": "world"}',
        b'{"url": "http://example.org/", "max_pages": 0}',
        b'{"url": "http://example.org/", "max_pages": 1000001}',
        b'{"url": "http://example.org/", "max_age_s": -1}',
        b'{"url": "http://example.org/", "max_age_s": 1e999}',
        b'{"url": "http://example.org/", "max_seconds": 0}',
        b'{"url": "http://example.org/", "max_seconds": NaN}',
        b'{"url": "http://example.org/", "include": "/docs/*"}',
        b'{"url": "http://example.org/", "include": [""]}',
        b'{"url": "http://example.org/", "exclude": ["docs"]}',
        b'{"url": "http://example.org/", "select": ["h1"]}',
        b'{"url": "http://example.org/", "select": {"title": "h1 >"}}',
        b'{"url": "http://example.org/", "select": {"title": ""}}',
        b'{"url": "http://example.org/", "select": {"": "h1"}}',
        b'{"url": "http://example.org/", "select": {"status": "h1"}}',
        b'{"url": "http://example.org/", "exclude": [null]}',
        b'{"url": "http://example.org/", "exclude": ["*' + b"x" * MAX_GLOB_CHARS + b'"]}',
        b'{"url": "http://example.org/", "include": [' + b", ".join([b'"*"'] * (MAX_GLOBS + 1)) + b"]}",
        b'{"url": "http://example.org/\xff"}',
        b'{"url": "http://example.org/\\ud800"}',
        b"[" * 100_000,
    ],
)
def test_options_that_mean_nothing_are_refused_with_advice(text: bytes) -> None:
    assert refused(text).code == ErrorCode.BAD_SPEC


def test_the_limits_themselves_are_fine() -> None:
    assert spec(depth=0).depth == 0
    assert spec(depth=MAX_DEPTH, max_pages=1, max_age_s=0, max_seconds=1).max_pages == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_a_spec_or_refused(text: bytes) -> None:
    with contextlib.suppress(BadInput):
        assert read_spec(text).url


def test_a_spec_travels_unchanged() -> None:
    asked = spec(depth=3, scope="domain", max_pages=7, max_age_s=1.5, max_seconds=60, include=["*"], exclude=["/x"])
    asked = structs.replace(asked, detail=True, links=True, check=True, sitemaps=True, select={"a": "b"})
    assert unpack_spec(pack(asked)) == asked
