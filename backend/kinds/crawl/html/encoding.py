"""Determines a page's encoding before it is parsed (HTML standard 13.2.3, Encoding standard).

The first of these counts: byte order mark, charset of the Content-Type header, declaration within the first 1024 bytes,
windows-1252. Labels mean the same as in browsers: ``latin-1`` and ``ascii`` are windows-1252, ``gb2312`` is gb18030.
Labels of other encodings that Python happens to support (utf-7, rot13, ...) are ignored.
"""

from __future__ import annotations

import codecs
import re

PRESCAN_BYTES = 1024
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le"))

_SAME = (
    "utf-8 utf-16-le utf-16-be iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-10 "
    "iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u mac-roman mac-cyrillic cp866 cp874 cp932 cp949 "
    "cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 euc_jp iso2022_jp gb18030 big5hkscs"
)
_BROAD = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "utf-16": "utf-16-le",
}
_CODECS = {name: name for name in _SAME.split()} | _BROAD
"""Python's name of an encoding -> the codec that reads it as browsers do."""
_LABELS = {
    label: codec
    for codec, labels in {
        "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8",
        "utf-16-be": "unicodefffe",
        "utf-16-le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff",
        "big5hkscs": "cn-big5 x-big5",
        "cp1252": "user-defined",
        "cp874": "dos-874 windows-874",
        "cp932": "windows-31j sjis",
        "cp949": "cseuckr csksc56011987 iso-ir-149 ks_c_5601-1989 ksc5601 ksc_5601 windows-949",
        "euc_jp": "cseucpkdfmtjapanese",
        "gb18030": "csgb2312 gb_2312 gb_2312-80",
        "iso8859-6": "csiso88596e csiso88596i iso-8859-6-e iso-8859-6-i",
        "iso8859-7": "sun_eu_greek",
        "iso8859-8": "csiso88598e csiso88598i iso-8859-8-e iso-8859-8-i logical visual",
        "iso8859-15": "csisolatin9",
        "koi8-r": "koi koi8",
        "koi8-u": "koi8-ru",
        "mac-cyrillic": "mac-ukrainian",
        "mac-roman": "csmacintosh mac",
    }.items()
    for label in labels.split()
}
"""Labels that Python does not know, without the ``x-`` that some begin with."""

_SHORT_ISO = re.compile(r"^iso8859(?=\d)")
_HEADER_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s;"',]+)""", re.I)
_XML_DECLARATION = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']""")
_META = re.compile(
    rb"""<!--(?:-?>|.*?(?:-->|\Z))|<meta(?=[\s/])((?>(?:[^>"']++|"[^"]*+"|'[^']*+')*))|<[a-z/!?][^>]*+""", re.I | re.S
)
_META_ATTRIBUTE = re.compile(rb"""([^\s/>=]++)(?:\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s>]*+))?""")
_CONTENT_CHARSET = re.compile(rb"""charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))""", re.I)


_ASCII_BASED = re.compile("utf-8|iso8859-.*|koi8-.|mac-.*|cp(?:1[0-9]{3}|866|874)")


def is_ascii_based(codec: str) -> bool:
    """Whether bytes below 128 always stand for ASCII, so that tags may be found before the page is decoded."""
    return _ASCII_BASED.fullmatch(codec) is not None


def codec_of(label: str) -> str | None:
    """The Python codec for an encoding label, or None when it is unknown."""
    label = _SHORT_ISO.sub("iso8859-", label.strip("\t\n\f\r ").lower().removeprefix("x-"))
    if label in _LABELS:
        return _LABELS[label]
    try:
        return _CODECS.get(codecs.lookup(label).name)
    except (LookupError, ValueError):  # ValueError: not ASCII, a NUL
        return None


def choose_codec(body: bytes, content_type: str) -> str:
    """The codec for a page that came with this Content-Type header ("" when there was none)."""
    for mark, codec in _MARKS:
        if body.startswith(mark):
            return codec
    named = _HEADER_CHARSET.search(content_type)
    xhtml = "xhtml" in content_type.lower()
    return (named and codec_of(named[1])) or _declared(body[:PRESCAN_BYTES]) or ("utf-8" if xhtml else "cp1252")


def decode(body: bytes, codec: str) -> str:
    """Return the text; invalid bytes become U+FFFD."""
    return body.decode(codec, "replace").removeprefix("\ufeff")


def _declared(head: bytes) -> str | None:
    declaration = _XML_DECLARATION.match(head)
    if declaration:
        return _from_inside(declaration[1])
    for found in _META.finditer(head):
        codec = _from_meta(found[1]) if found[1] is not None else None
        if codec:
            return codec
    return None


def _from_meta(attributes: bytes) -> str | None:
    values: dict[bytes, bytes] = {}
    for name, value in _META_ATTRIBUTE.findall(attributes):
        values.setdefault(name.lower(), value.strip(b"\"'"))
    if b"charset" in values:
        return _from_inside(values[b"charset"])
    content = _CONTENT_CHARSET.search(values.get(b"content", b""))
    if content is None or values.get(b"http-equiv", b"").lower() != b"content-type":
        return None
    return _from_inside(content[1] or content[2] or content[3] or b"")


def _from_inside(label: bytes) -> str | None:
    """Return the declared codec. A declaration that was readable as ASCII cannot be in UTF-16, whatever it says."""
    codec = codec_of(label.decode("latin-1"))
    return "utf-8" if codec in ("utf-16-le", "utf-16-be") else codec
