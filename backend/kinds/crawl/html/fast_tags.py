"""The tags that matter of a plain page, found at the speed of a search; four times as fast as `tags`, for most pages.

`tags` reads every tag, because any of them may hide what only looks like a link: in an attribute, in a comment, in a
script. A plain page hides nothing, and that can be seen without reading its other tags one by one:

1. One search takes out the tags that matter, comments, and raw text elements, all as long as they are written in the
   usual way; an unusual one (unclosed, ``<a href = >``, ``<SCRIPT>``, a template) ends the search, and the page is not
   plain.
2. Of what is left only ``< > " ' =`` are looked at. If these are ``<``, then any number of ``=`` each with quotes of
   one kind around at most quotes of the other kind, then ``>``, again and again, then no tag's attribute has a ``<`` or
   ``>`` in it: each tag ends at the first ``>``, so that what was taken out was where it seemed to be.

Why 2 is enough: a tokenizer enters a quoted value only at a quote that follows ``=``. At a quote that opens here, it
may enter or, as in ``<a b=c"d">``, may not; if it has, it leaves at the quote that closes here, and if it has not, it
cannot enter before, because there is no ``=`` in between. So it is outside of any value at the ``>``.

Bytes of an encoding in which those below 128 are ASCII and nothing else (`encoding.is_ascii_based`). Linear in time: no
pattern backtracks, and what fails to match at length ends the search. See `tags` for the form of the patterns.
"""

from __future__ import annotations

import re

MOST_BYTES = 256 * 1024
"""Of a page that is searched at once, under the interpreter's lock; larger ones are read by `tags`, with pauses."""

_WS = rb"[ \t\n\f\r]"
_EQUALS = _WS + rb"*+=" + _WS + rb"*+"
_NAME = rb"""[^ \t\n\f\r"'<>=/]++"""
_VALUE = rb"""(?:"[^"<>]*+"|'[^'<>]*+'|[^"'<>= \t\n\f\r]++)"""
_HREF = _WS + rb"++(?i:href)"
_ATTRIBUTE = _WS + rb"++" + _NAME + rb"(?>(?:" + _EQUALS + _VALUE + rb")?)"
_BEFORE_HREF = rb"(?>(?:(?!" + _HREF + rb"[ \t\n\f\r=/>])" + _ATTRIBUTE + rb")*)"
_ATTRIBUTES = rb"(?>(?:" + _ATTRIBUTE + rb")*)" + _WS + rb"*+/?+"
_END = rb"(?=[ \t\n\f\r/>])"
_RAW_TEXT = (b"script", b"style", b"title", b"textarea", b"xmp", b"iframe", b"noembed", b"noframes")


def _raw_text(name: bytes) -> bytes:
    """An element of raw text as a whole. A script with a comment in it is not plain: see `tags`."""
    unusual = rb"|!--" if name == b"script" else b""
    inside = rb"[^<]*+(?>(?:<(?!(?i:/%b)%b%b)[^<]*+)*)" % (name, _END, unusual)
    return rb"%b%b>%b</(?i:%b)%b*+>" % (name, _ATTRIBUTES, inside, name, _WS)


_INITIAL = rb"(?=[a!?tsbmilxnpATSBMLIXNP])"
"""Most tags are passed over by their first letter, most others by their second."""
_BEGINNING = (
    rb"(?=[!?]|[aA][ \t\n\f\r/>rR]|[bB][aAoO]|[mM][eE]|[lL][iI][nN]|[iI][mMfF]|[sS][cCtT][rRyY]|[tT][eEiI][xXmMtT]"
    rb"|[xX][mM]|[nN][oO]|[pP][lL])"
)
_TAGS = re.compile(
    rb"<%b%b(?>" % (_INITIAL, _BEGINNING)
    + rb'(?i:(a(?:rea)?|base|body|link|meta))%b(%b(?>(?:%b%b"([^"<>]*+)")?)%b)>'
    % (_END, _BEFORE_HREF, _HREF, _EQUALS, _ATTRIBUTES)
    + rb"|(?i:img)%b%b>" % (_END, _ATTRIBUTES)
    + rb"|!--(?!-?>)[^-]*+(?>(?:-(?!-!?>)[^-]*+)*)--!?>"
    + rb"|(?:!(?!--)|\?)[^>]*+>|"
    + b"|".join(map(_raw_text, _RAW_TEXT))
    + rb"|()(?:[!?]|(?i:a|area|base|body|link|meta|template|plaintext|%b)%b).*+)" % (b"|".join(_RAW_TEXT), _END),
    re.S,
)
_STEP = 1 + _TAGS.groups
_NEITHER = bytes(set(range(256)) - set(b"<>\"'="))
_NO_TAG_HIDES = re.compile(rb"""[^<]*+(?>(?:<(?>(?:=++(?>(?:"'*+"|'"*+')?))*)>[^<]*+)*)""")

PlainTag = tuple[bytes, bytes, bytes | None]
"""Name and attributes as they are written, and the value of ``href`` if it is written with double quotes."""


def plain_tags(html: bytes) -> list[PlainTag] | None:
    """All of ``a``, ``area``, ``base``, ``body``, ``link`` and ``meta``, in their order; None when it is not plain."""
    if len(html) > MOST_BYTES:
        return None
    parts = _TAGS.split(html)
    if len(parts) > 1 and parts[-2] is not None:
        return None  # the search was ended by something unusual
    marks = b"<>".join(parts[::_STEP]).translate(None, _NEITHER)
    if b"<" in marks.replace(b'=""', b"").replace(b"<>", b"") and not _NO_TAG_HIDES.fullmatch(marks):
        return None
    return [tag for tag in zip(parts[1::_STEP], parts[2::_STEP], parts[3::_STEP], strict=True) if tag[0]]
