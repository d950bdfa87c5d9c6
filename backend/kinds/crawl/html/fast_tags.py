"""Finds the relevant tags of a plain page by one regular-expression search; four times as fast as `tags`, for most
pages.

`tags` reads every tag, because any of them may contain text that only looks like a link: in an attribute, in a comment,
in a script. In a plain page no tag does, and that can be verified without reading the other tags one by one:

1. One search takes out the relevant tags, comments, and raw text elements, all as long as they are written in the
   usual way; an unusual one (unclosed, ``<a href = >``, ``<SCRIPT>``, a template) ends the search, and the page is not
   plain.
2. In the remaining text only ``< > " ' =`` are examined. If these are ``<``, then any number of ``=`` each with quotes
   of one kind around at most quotes of the other kind, then ``>``, again and again, then no tag's attribute has a
   ``<`` or ``>`` in it: each tag ends at the first ``>``, so that the tags that were taken out really are tags.

Why 2 is enough: a tokenizer enters a quoted value only at a quote that follows ``=``. At a quote that opens here, it
may enter or, as in ``<a b=c"d">``, may not; if it has, it leaves at the quote that closes here, and if it has not, it
cannot enter before, because there is no ``=`` in between. So it is outside of any value at the ``>``.

The input is bytes of an encoding in which bytes below 128 are always ASCII (`encoding.is_ascii_based`). The time is
linear: no pattern backtracks, and a long failed match ends the search. `tags` explains the form of the patterns.
"""

from __future__ import annotations

import re

MOST_BYTES = 256 * 1024
"""Largest page that is searched in one call, under the interpreter's lock; `tags` reads larger ones, with pauses."""

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
    """Return the pattern of a whole raw text element. A script with a comment in it is not plain: see `tags`."""
    unusual = rb"|!--" if name == b"script" else b""
    inside = rb"[^<]*+(?>(?:<(?!(?i:/%b)%b%b)[^<]*+)*)" % (name, _END, unusual)
    return rb"%b%b>%b</(?i:%b)%b*+>" % (name, _ATTRIBUTES, inside, name, _WS)


_INITIAL = rb"(?=[a!?tsbmilxnpATSBMLIXNP])"
"""Excludes most tags by their first letter, most others by their second."""
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
"""Name and attributes as written, and the value of ``href`` if it is written with double quotes."""


def plain_tags(html: bytes) -> list[PlainTag] | None:
    """Return all ``a``, ``area``, ``base``, ``body``, ``link`` and ``meta`` tags in order; None when the page is not
    plain.
    """
    if len(html) > MOST_BYTES:
        return None
    parts = _TAGS.split(html)
    if len(parts) > 1 and parts[-2] is not None:
        return None  # the search was ended by something unusual
    marks = b"<>".join(parts[::_STEP]).translate(None, _NEITHER)
    if b"<" in marks.replace(b'=""', b"").replace(b"<>", b"") and not _NO_TAG_HIDES.fullmatch(marks):
        return None
    return [tag for tag in zip(parts[1::_STEP], parts[2::_STEP], parts[3::_STEP], strict=True) if tag[0]]
