"""A fetched page that is parsed on demand, for job kinds that take more from pages than their links."""

from __future__ import annotations

import warnings
from functools import cached_property

from bs4 import BeautifulSoup

from roost.backend.kinds.crawl.html.encoding import choose_codec, decode
from roost.backend.kinds.crawl.html.links import Links, page_links


class Page:
    """The HTML page `body` at `url`.

    Building the tree of an untrusted page may be slow: use `soup` only where that blocks nothing else, as in a
    `SandboxPool`.
    """

    def __init__(self, body: bytes, content_type: str, url: str) -> None:
        self.body, self.content_type, self.url = body, content_type, url

    @cached_property
    def html(self) -> str:
        """The decoded text."""
        return decode(self.body, choose_codec(self.body, self.content_type))

    @cached_property
    def links(self) -> Links:
        """The links of the page."""
        return page_links(self.body, self.content_type, self.url)

    @cached_property
    def soup(self) -> BeautifulSoup:
        """The parsed tree, built on first use: about fifty times the work of the links."""
        with warnings.catch_warnings(action="ignore"):  # that it looks like a file name, or like XML
            return BeautifulSoup(self.html, "html.parser")
