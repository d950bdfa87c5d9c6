"""A page is read in the encoding that a browser would read it in."""

from __future__ import annotations

import contextlib

import pytest
import webencodings.labels
from html5lib._inputstream import EncodingParser
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.backend.kinds.crawl.html.encoding import choose_codec, codec_of, decode
from roost.backend.kinds.crawl.html.links import page_links


@pytest.mark.parametrize(
    ("body", "header", "codec"),
    [
        (b"", "", "cp1252"),
        (b"", "text/html", "cp1252"),
        (b"", "application/xhtml+xml", "utf-8"),
        (b"", "text/html; charset=UTF-8", "utf-8"),
        (b"", 'text/html;charset="koi8-r"; x=y', "koi8-r"),
        (b"", "text/html; charset=latin1", "cp1252"),
        (b"", "text/html; charset=us-ascii", "cp1252"),
        (b"", "text/html; charset=gb2312", "gb18030"),
        (b"", "text/html; charset=utf-7", "cp1252"),
        (b"", "text/html; charset=rot13", "cp1252"),
        (b"", "text/html; charset=unicode_escape", "cp1252"),
        (b"", "text/html; charset=\xff\0", "cp1252"),
        (b"\xef\xbb\xbf", "text/html; charset=koi8-r", "utf-8"),
        (b"\xff\xfe<\0", "text/html; charset=koi8-r", "utf-16-le"),
        (b"\xfe\xff\0<", "", "utf-16-be"),
        (b"<meta charset=koi8-r>", "text/html; charset=utf-8", "utf-8"),
        (b"<meta charset=koi8-r>", "text/html; charset=nonsense", "koi8-r"),
        (b"<META CHARSET='koi8-r'>", "", "koi8-r"),
        (b"<meta charset=utf-16>", "", "utf-8"),
        (b"<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>", "", "koi8-r"),
        (b"<meta content='text/html; charset=koi8-r'>", "", "cp1252"),
        (b"<meta charset=nonsense><meta charset=koi8-r>", "", "koi8-r"),
        (b"<!-- <meta charset=koi8-r> --><meta charset=euc-jp>", "", "euc_jp"),
        (b"<p title='<meta charset=koi8-r>'><metal charset=koi8-r>", "", "cp1252"),
        (b" " * 1024 + b"<meta charset=koi8-r>", "", "cp1252"),
        (b'<?xml version="1.0" encoding="koi8-r"?>', "application/xhtml+xml", "koi8-r"),
    ],
)
def test_mark_then_header_then_declaration_then_windows_1252(body: bytes, header: str, codec: str) -> None:
    assert choose_codec(body, header) == codec


def test_every_label_of_the_standard_is_read_as_the_standard_says() -> None:
    for label in webencodings.labels.LABELS:
        standard = webencodings.lookup(label)
        assert standard is not None
        if standard.name in ("replacement", "x-user-defined"):  # not for reading links
            continue
        codec = codec_of(label)
        assert codec is not None, label
        for text in ("<a href='/~x'>", "é", "Ж", "ب", "א", "ü", "ก", "漢", "가"):
            with contextlib.suppress(UnicodeError):
                assert decode(standard.codec_info.encode(text)[0], codec) == text, label


@given(st.text(alphabet="<>/-\"'= metachrsut8;koi-r\n", max_size=80).map(str.encode))
@settings(max_examples=500)
def test_any_head_declares_what_html5lib_reads_from_it(noise: bytes) -> None:
    head = b"<p>" + noise + b"-->'\"><meta charset=koi8-r>"
    expected = EncodingParser(head).getEncoding()
    assert choose_codec(head, "") == (codec_of(expected.name) if expected else "cp1252")


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "gb18030", "iso2022_jp", "euc_jp"])
def test_damaged_text_is_still_text(codec: str) -> None:
    assert "x" in decode(b"x\0\xff\xd8\x1b$B\x80x\0", codec)


def test_a_query_is_sent_in_the_encoding_of_its_page_and_a_path_in_utf_8() -> None:
    page = "<a href='/é?é=€&я#é'>".encode("cp1251", "xmlcharrefreplace")
    assert page_links(page, "text/html; charset=windows-1251", "http://h/").urls == [
        "http://h/%C3%A9?%26%23233%3B=%88&%FF"
    ]
    assert page_links("<a href='/é?é'>".encode(), "text/html; charset=utf-8", "http://h/").urls == [
        "http://h/%C3%A9?%C3%A9"
    ]
