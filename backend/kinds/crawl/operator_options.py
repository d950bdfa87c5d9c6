"""Options of the crawl kind that an operator sets."""

from __future__ import annotations

from dataclasses import dataclass, field

from roost.backend.kinds.crawl.fetch.public_addresses import Network, parse_networks
from roost.backend.kinds.crawl.politeness.robots import product_token
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput


@dataclass(frozen=True, slots=True)
class CrawlOptions:
    """Crawl options of a worker. Raises BadInput for invalid values."""

    allow_private: tuple[str, ...] = ()
    """Address ranges that may be dialled although they are not public, as in ``10.0.0.0/8``."""
    user_agent: str = "Roost/0.1 (a crawler that follows links by depth)"
    """The crawler's User-Agent. Its first word is the product token that robots.txt files use."""
    contact: str = ""
    """An address or web page where a site's owner reaches the operator; sent with the user agent."""
    ignores_robots: bool = False
    """Ignore robots.txt: its rules and its crawl-delay. Meant for one's own sites."""
    page_timeout_s: float = 30.0
    """Time limit for one page with all its redirects: beyond it visitors have left. At most `plan.PAGE_DEADLINE_S`
    counts.
    """
    page_bytes: int = 8 * 1024 * 1024
    """Most decoded bytes read of one page; the largest real ones are manuals on a single page, of a few MB."""
    redirects: int = 10
    """Redirects followed for one page; browsers give up at 20, ordinary sites need 3."""
    at_once_per_host: int = 8
    """Concurrent requests to one host, over all workers: the limit that browsers use. Fewer when the host slows
    down.
    """
    networks: tuple[Network, ...] = field(init=False)
    """`allow_private`, parsed."""

    @property
    def introduction(self) -> str:
        """The value of the User-Agent header."""
        return f"{self.user_agent} (+{self.contact})" if self.contact else self.user_agent

    @property
    def realm(self) -> bytes:
        """The options that decide what a URL answers; workers share cached pages where this value is the same."""
        networks = sorted(map(str, self.networks))
        return repr((networks, self.introduction, self.ignores_robots, self.page_bytes, self.redirects)).encode()

    def __post_init__(self) -> None:
        object.__setattr__(self, "networks", parse_networks(self.allow_private))
        if not _is_header(self.contact):
            raise BadInput(ErrorCode.BAD_SPEC, "write the contact in printable ASCII")
        if not product_token(self.user_agent) or not _is_header(self.introduction):
            raise BadInput(ErrorCode.BAD_SPEC, "write the user agent in printable ASCII, as in MyCrawler/1.0")
        if not (min(self.page_timeout_s, self.page_bytes, self.at_once_per_host) > 0 and self.redirects >= 0):
            advice = "page time, bytes and requests at once must be positive, redirects not negative"
            raise BadInput(ErrorCode.BAD_SPEC, advice)


def _is_header(text: str) -> bool:
    return text.isascii() and text.isprintable()
