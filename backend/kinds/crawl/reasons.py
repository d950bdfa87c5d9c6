"""Why a page was not fetched, as stable words that clients may depend on.

A page that was requested without success is `failed`; a page that was not requested is `skipped`. The reason for an
answer other than 2xx is ``status_`` and its number.
"""

from __future__ import annotations

from enum import StrEnum

from roost.wire.codes import ErrorCode
from roost.wire.messages.outcome import Failure


class Skipped(StrEnum):
    """Why a listed page within the depth was not fetched."""

    SCOPE = "scope"
    NOT_INCLUDED = "not_included"
    EXCLUDED = "excluded"
    LIMIT = "limit"
    ROBOTS = "robots"
    NOFOLLOW = "nofollow"


class Failed(StrEnum):
    """Why a page could not be fetched, apart from HTTP status codes."""

    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    REFUSED_ADDRESS = "refused_address"
    TLS = "tls"
    TIMEOUT = "timeout"
    TOO_BIG = "too_big"
    REDIRECTS = "redirects"
    BAD_REDIRECT = "bad_redirect"
    CUT_OFF = "cut_off"
    BAD_RESPONSE = "bad_response"
    BAD_SITEMAP = "bad_sitemap"


TOO_SLOW = "too_slow"
"""Extraction error: selecting from the page took too long, or too much memory."""
BAD_SELECTOR = "bad_selector"
"""Extraction error: the HTML library rejected a selector."""
LEFT_ALONE = frozenset(map(str, Skipped))
_STATUS = "status_"

_ADVICE: dict[str, tuple[ErrorCode, str]] = {
    Skipped.ROBOTS: (
        ErrorCode.GAVE_UP,
        "its robots.txt forbids it, or answers with an error: start elsewhere, or --ignore-robots on a site of yours",
    ),
    Failed.UNRESOLVED: (ErrorCode.UNREACHABLE, "the host name does not resolve: check its spelling"),
    Failed.UNREACHABLE: (ErrorCode.UNREACHABLE, "nothing answers there: check host and port, and whether it is up"),
    Failed.REFUSED_ADDRESS: (
        ErrorCode.REFUSED_ADDRESS,
        "the host has a private or special address; if you trust it, allow its range with --allow-private CIDR",
    ),
    Failed.TLS: (ErrorCode.UNREACHABLE, "no secure connection: check the site's certificate, or use http://"),
    Failed.TIMEOUT: (ErrorCode.TIMED_OUT, "the page did not arrive in time: try again later"),
    Failed.TOO_BIG: (ErrorCode.TOO_BIG, "the page is bigger than this crawler reads: start from another one"),
    Failed.REDIRECTS: (ErrorCode.BAD_CONTENT, "the page redirects in circles: start from where it should lead"),
    Failed.BAD_REDIRECT: (ErrorCode.BAD_CONTENT, "the page redirects to what is no web address: start elsewhere"),
    Failed.CUT_OFF: (ErrorCode.UNREACHABLE, "the server closed the connection before it had answered: try again later"),
    Failed.BAD_RESPONSE: (ErrorCode.BAD_CONTENT, "the server does not answer in valid HTTP: check host and port"),
    Failed.BAD_SITEMAP: (ErrorCode.BAD_CONTENT, "what should be a sitemap is none: crawl without sitemaps"),
}
"""Error code and advice for a crawl whose start page failed, by reason."""


def status_reason(status: int) -> str:
    """Return the reason for a page that was answered with `status`."""
    return f"{_STATUS}{status}"


def start_failure(url: str, reason: str) -> Failure:
    """Return the failure, with advice, of a crawl whose start page failed for `reason`."""
    page = f"the start page {url if len(url) <= 200 else url[:200] + '...'} could not be fetched"
    if reason.startswith(_STATUS):
        advice = f"its server answered {reason.removeprefix(_STATUS)}: check the URL, or try again later"
        return Failure(ErrorCode.BAD_STATUS, f"{page}: {advice}")
    code, advice = _ADVICE.get(reason, (ErrorCode.GAVE_UP, f"no worker could do it ({reason}): try again later"))
    return Failure(code, f"{page}: {advice}")
