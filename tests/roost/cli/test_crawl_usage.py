"""What is wrong with a command line of ``roost crawl`` is said in a sentence, before anything starts."""

from __future__ import annotations

import pytest

from tests.roost.cli.command import refused


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ((), "Missing argument"),
        (("example.org",), "write a whole web address"),
        (("ftp://example.org",), "http"),
        (("http://" + "a" * 100_000,), "use a URL of at most"),
        (("http://a.example", "--depth", "-1"), "--depth"),
        (("http://a.example", "--depth", "1000"), "--depth"),
        (("http://a.example", "--depth", "two"), "--depth"),
        (("http://a.example", "--max-pages", "0"), "--max-pages"),
        (("http://a.example", "--format", "xml"), "--format"),
        (("http://a.example", "--scope", "galaxy"), "--scope"),
        (("http://a.example", "--include", "docs"), "begin the pattern with https://"),
        (("http://a.example", "--exclude", "x" * 9999), "begin the pattern with https://"),
        (("http://a.example", "--select", "h1"), "write NAME=CSS"),
        (("http://a.example", "--select", "a=h1", "--select", "a=h2"), "each name once"),
        (("http://a.example", "--select", "a=h1 >"), "write a CSS selector"),
        (("http://a.example", "--select", "url=h1"), "choose another name"),
        (("http://a.example", "--unheard-of"), "No such option"),
        (("http://a.example", "--allow-private", "everything"), "write a range of addresses"),
        (("http://a.example", "--allow-private", "10.0.0.0/8", "--server", "http://s:1"), "its workers decide"),
        (("http://a.example", "--contact", "me", "--server", "http://s:1"), "its workers decide"),
        (("http://a.example", "--ignore-robots", "--server", "http://s:1"), "its workers decide"),
        (("http://a.example", "--contact", "ich@b\u00fccher.example"), "printable ASCII"),
        (("http://a.example", "--max-age", "-1"), "--max-age"),
        (("http://a.example", "--output", "/no/such/folder/out"), "no such file or directory"),
        (("http://a.example", "--server", "ftp://s"), "write the server as http://host:port"),
    ],
)
def test_wrong_usage_exits_2_with_advice_before_anything_starts(arguments: tuple[str, ...], advice: str) -> None:
    done = refused(*arguments)
    assert (done.code, done.out) == (2, b"")
    assert advice in done.err
    assert "Traceback" not in done.err
