"""Which URLs are one, and which of them a crawl follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.backend.kinds.crawl.urls import (
    MAX_HOST_CHARS,
    MAX_URL_CHARS,
    Bounds,
    Scope,
    join,
    join_all,
    parse,
)


@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ("", "http://h/a/b?q"),
        ("#part", "http://h/a/b?q"),
        ("c", "http://h/a/c"),
        (" c\n", "http://h/a/c"),
        ("c\td", "http://h/a/cd"),
        ("../../../c", "http://h/c"),
        ("?x=1#?", "http://h/a/b?x=1"),
        ("//other", "http://other/"),
        ("https:other", "https://other/"),
        ("http:c", "http://h/a/c"),
        ("/%7Ea/%zz", "http://h/%7Ea/%zz"),
        ("http://me:secret@h/c", "http://h/c"),
        ("c@d", "http://h/a/c@d"),
        ("mailto:a@b", None),
        ("javascript:void(0)", None),
        ("data:text/html,<a>", None),
        ("ftp://h/", None),
        ("http://", None),
        ("http://h:x/", None),
        ("http://a b/", None),
        ("\ud800", None),
        ("x" * MAX_URL_CHARS, None),
        ("x" * MAX_HOST_CHARS * 2, "http://h/a/" + "x" * MAX_HOST_CHARS * 2),
        ("/" + "x" * MAX_HOST_CHARS * 2, "http://h/" + "x" * MAX_HOST_CHARS * 2),
        ("//other/" + "x" * MAX_HOST_CHARS, "http://other/" + "x" * MAX_HOST_CHARS),
        ("http://" + "x" * MAX_HOST_CHARS + "/", "http://" + "x" * MAX_HOST_CHARS + "/"),
        ("http://x" + "x" * MAX_HOST_CHARS, None),
        (" \\/x" + "x" * MAX_HOST_CHARS, None),
        ("h\ntt\tp:x" + "x" * MAX_HOST_CHARS, None),
    ],
)
def test_a_reference_means_what_it_means_in_a_browser(reference: str, meant: str | None) -> None:
    assert join("http://h/a/b?q", reference) == meant


@given(st.text(max_size=40))
def test_a_url_means_itself_and_has_no_fragment(reference: str) -> None:
    url = join("http://h/a/b", reference)
    if url is not None:
        assert "#" not in url
        assert parse(url) == url
        assert join("http://other/", url) == url


@given(
    st.sampled_from(["http://h/", "http://h/a/b?q/r", "https://h:8/a/b/?", "http://h/a//b"]),
    st.lists(st.text("abZ09_-.~/:?%\\é \n", max_size=8) | st.text(max_size=8), max_size=5),
)
def test_many_references_mean_what_each_means(base: str, references: list[str]) -> None:
    base = parse(base) or ""
    assert list(join_all(base, references)) == [url for url in (join(base, each) for each in references) if url]


@pytest.mark.parametrize(
    ("scope", "start", "url", "allowed"),
    [
        (Scope.HOST, "http://example.org/", "http://example.org/a", True),
        (Scope.HOST, "http://example.org/", "https://example.org/a", True),
        (Scope.HOST, "http://example.org/", "http://www.example.org/", True),
        (Scope.HOST, "https://www.example.org/", "https://example.org/", True),
        (Scope.HOST, "http://example.org/", "http://example.org:8080/", False),
        (Scope.HOST, "http://example.org/", "http://sub.example.org/", False),
        (Scope.HOST, "http://example.org/", "http://example.org.evil/", False),
        (Scope.HOST, "http://127.0.0.1:8000/", "http://127.0.0.1:8000/a", True),
        (Scope.HOST, "http://127.0.0.1:8000/", "http://127.0.0.1:8001/", False),
        (Scope.DOMAIN, "http://www.example.org/", "https://a.b.example.org:8080/", True),
        (Scope.DOMAIN, "http://example.org:8000/", "http://example.org/", True),
        (Scope.DOMAIN, "http://example.org/", "http://notexample.org/", False),
        (Scope.DOMAIN, "http://shop.example.org/", "http://example.org/", False),
        (Scope.DOMAIN, "http://[::1]:8000/", "http://[::1]/", True),
        (Scope.DOMAIN, "http://[::1]/", "http://[::2]/", False),
        (Scope.DOMAIN, "http://127.0.0.1/", "http://127.0.0.2/", False),
        (Scope.ANY, "http://example.org/", "https://elsewhere/", True),
    ],
)
def test_a_crawl_stays_in_its_scope(scope: Scope, start: str, url: str, allowed: bool) -> None:
    assert Bounds.around(start, scope).allows(url) is allowed
