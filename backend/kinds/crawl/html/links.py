"""Extracts the links of a page as URLs: ``a[href]``, ``area[href]`` and the targets of ``meta`` refresh, in document
order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import quote

from msgspec import Struct, structs

from roost.backend.kinds.crawl.html.encoding import choose_codec, decode, is_ascii_based
from roost.backend.kinds.crawl.html.fast_tags import PlainTag, plain_tags
from roost.backend.kinds.crawl.html.tags import HEAD, LINKING, attribute, decoded, start_tags
from roost.backend.kinds.crawl.urls import join, join_all, without_fragment

MAX_LINKS = 10_000
"""Most links listed per page: more than real pages have; it bounds the cost of pages made to trap crawlers."""
MAX_REFERENCES = 5 * MAX_LINKS
"""Most distinct link texts per page; many may mean the same page, or none."""
MAX_LINK_CHARS = 1_000_000
"""Most characters of all links of a page together; bounds what a worker sends to a master."""

_ROBOTS = re.compile("robots", re.I)
_REFRESH = re.compile("refresh", re.I)
_REFRESH_CONTENT = re.compile(
    r"""\s*+(?:\d[\d.]*+|\.[\d.]*+)(?:\s*+[;,]\s*+|\s++)(?>(?:url\s*+=\s*+)?)(?:"([^"]*+)|'([^']*+)|([^"'].*+))""",
    re.I | re.S | re.A,
)
_WITH_HREF = frozenset((b"a", b"area", b"link"))
_SHORT_RAW_TEXT = re.compile(r"(<(script|style|title|textarea|iframe|noembed|noframes|xmp)\b[^<>]*+(?<=/))>")


class Links(Struct, frozen=True):
    """Distinct URLs in the order of their first appearance; `cut`: there were more than the limits allow.

    `unfollowed`: URLs that the page asks crawlers not to follow, by ``rel=nofollow`` on each link to them or by ``<meta
    name=robots content=nofollow>``. `canonical`: the page's canonical URL, "" when it names none.
    """

    urls: list[str]
    cut: bool
    unfollowed: list[str] = []
    canonical: str = ""


def page_links(body: bytes, content_type: str, url: str) -> Links:
    """The links of the HTML or XHTML page `body` at `url`."""
    codec = choose_codec(body, content_type)
    is_xhtml = "xhtml" in content_type.lower()
    plain = plain_tags(body) if is_ascii_based(codec) and not is_xhtml else None
    if plain is not None and not _says_more(plain):
        hrefs = dict.fromkeys([href for name, _, href in plain if href is not None and name != b"link"])
        references = dict.fromkeys([without_fragment(decoded(href.decode(codec, "replace"))) for href in hrefs])
        return _resolved(references, url, codec)
    if plain is not None:
        tags = [(name.decode().lower(), text.decode(codec, "replace")) for name, text, _ in plain]
        links, canonical = _links_of(tags, True, url, codec), _canonical(tags, url)
    else:
        html = decode(body, codec)
        if is_xhtml:
            html = _SHORT_RAW_TEXT.sub(
                r"\1></\2>", html
            )  # an HTML parser would take <script/> as an open tag to the end
        links, canonical = html_links(html, url, codec), canonical_link(html, url)
    return structs.replace(links, canonical=canonical) if canonical else links


def _says_more(tags: list[PlainTag]) -> bool:
    """Whether these tags need full parsing: unusual links, nofollow, a refresh, or a canonical link."""
    if len(tags) > MAX_REFERENCES:
        return True
    unusual = b"".join([text for name, text, href in tags if href is None or name not in _WITH_HREF]).lower()
    if b"href" in unusual or b"refresh" in unusual or b"robots" in unusual:
        return True
    said = b"".join([text for _, text, _ in tags]).lower()
    return b"nofollow" in said or b"canonical" in said


def html_links(html: str, url: str, codec: str = "utf-8") -> Links:
    """Return the links of the text of a page at `url`, which was decoded by `codec`."""
    may_forbid = "ollow" in html or "OLLOW" in html  # a fast test that excludes most pages
    return _links_of(start_tags(html), may_forbid, url, codec)


def _links_of(tags: Iterable[tuple[str, str]], may_forbid: bool, url: str, codec: str) -> Links:
    base: str | None = None
    is_followed = True
    references: dict[str, bool] = {}
    for name, attributes in tags:
        if name not in LINKING.names:
            continue
        if name == "meta":
            is_followed = is_followed and not _forbids_all(attributes)
            reference = _refresh(attributes)
        else:
            reference = attribute(attributes, "href")
        if reference is None:
            continue
        if name != "base":
            reference = without_fragment(reference)
            forbids = may_forbid and _forbids(attributes)
            references[reference] = not forbids or references.get(reference, False)
            if len(references) > MAX_REFERENCES:
                break
        elif base is None:
            base = join(url, reference) or url
    links = _resolved(references, base or url, codec)
    if not is_followed:
        return structs.replace(links, unfollowed=links.urls)
    if all(references.values()):
        return links
    followed = set(join_all(base or url, _written((text for text in references if references[text]), codec)))
    return structs.replace(links, unfollowed=[link for link in links.urls if link not in followed])


def canonical_link(html: str, url: str) -> str:
    """Return the canonical URL of the page at `url` (RFC 6596), from a link element in its head; "" when there is
    none.
    """
    end = html.find("<body")  # a fast estimate; the tags themselves are parsed properly
    end = end if end >= 0 else len(html)
    if html.find("anonical", 0, end) < 0 and html.find("ANONICAL", 0, end) < 0:
        return ""
    return _canonical(start_tags(html, HEAD), url)


def _canonical(tags: Iterable[tuple[str, str]], url: str) -> str:
    base = ""
    for name, attributes in tags:
        if name == "body":
            break
        if name not in HEAD.names:
            continue
        reference = attribute(attributes, "href")
        if reference is None:
            continue
        if name == "base":
            base = base or join(url, reference) or ""
        elif "canonical" in (attribute(attributes, "rel") or "").lower().split():
            return join(base or url, reference) or ""
    return ""


def _forbids(attributes: str) -> bool:
    """Whether a link is marked nofollow."""
    if "nofollow" not in attributes.lower():
        return False
    return "nofollow" in (attribute(attributes, "rel") or "").lower().split()


def _forbids_all(attributes: str) -> bool:
    """Whether a meta element marks all links of the page as nofollow."""
    if _ROBOTS.search(attributes) is None or (attribute(attributes, "name") or "").strip().lower() != "robots":
        return False
    words = (attribute(attributes, "content") or "").lower().replace(",", " ").split()
    return "nofollow" in words or "none" in words


def _refresh(attributes: str) -> str | None:
    """Return the target of a meta refresh (HTML standard 4.2.5.3, shared declarative refresh steps)."""
    if _REFRESH.search(attributes) is None or (attribute(attributes, "http-equiv") or "").lower() != "refresh":
        return None
    found = _REFRESH_CONTENT.match(attribute(attributes, "content") or "")
    return next((text for text in found.groups() if text is not None), None) if found else None


def _written(references: Iterable[str], codec: str) -> Iterator[str]:
    return (text if text.isascii() else _encode_query(text, codec) for text in references)


def _resolved(references: Collection[str], base: str, codec: str) -> Links:
    urls: dict[str, None] = {}
    chars = 0
    for url in join_all(base, _written(references, codec)):
        if url in urls:
            continue
        chars += len(url)
        if len(urls) == MAX_LINKS or chars > MAX_LINK_CHARS:
            return Links(list(urls), cut=True)
        urls[url] = None
    return Links(list(urls), cut=len(references) > MAX_REFERENCES)


def _encode_query(reference: str, codec: str) -> str:
    """Encode a query in the encoding of its page; everything else is UTF-8 (URL standard, query state)."""
    path, mark, query = reference.partition("?")
    if codec.startswith("utf") or query.isascii():
        return reference
    return path + mark + "".join(c if c.isascii() else _percent_encoded(c, codec) for c in query)


def _percent_encoded(character: str, codec: str) -> str:
    try:
        return quote(character.encode(codec), safe="")
    except UnicodeError:
        return f"%26%23{ord(character)}%3B"
