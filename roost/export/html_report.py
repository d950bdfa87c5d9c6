"""A crawl's result as one HTML file for people: no scripts, no other files, nothing is loaded.

All text from crawled sites is escaped, and becomes a link only when it is a web address. If that ever failed, the
page's Content-Security-Policy would still forbid scripts and requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING

from roost.export.rows import Row, columns, rows

if TYPE_CHECKING:
    from roost.backend.kinds.crawl.output.crawl_result import BrokenLink, CrawlResult

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
OPEN_ROWS = 200
"""A level with more URLs than this is collapsed at first."""
MOST_SLOW = 10
_HEADS = {
    "url": "URL",
    "outcome": "What came of it",
    "parent": "Linked from",
    "status": "Status",
    "type": "Type",
    "bytes": "Bytes",
    "time_s": "Seconds",
    "landed": "Redirects to",
    "canonical": "Canonical",
    "trouble": "Nothing extracted",
}
_NUMBERS = ("status", "bytes", "time_s")
_LINKS = ("url", "parent", "landed", "canonical")
_OTHER_COLUMNS = ("level", "reason", "named_by")
"""Columns that the table of URLs does not show, because other parts of the report do."""


def report(result: CrawlResult) -> Iterator[str]:
    """The HTML file, in pieces."""
    yield from _head(result)
    yield from _summary(result)
    yield from _levels(result)
    if result.broken is not None:
        yield from _broken(result.broken)
    yield from _reasons("Failed", "Why pages could not be fetched", result.failed)
    yield from _reasons("Skipped", "Why pages were left alone", result.skipped)
    yield from _slowest(result)
    yield from _pages(result)
    yield "</main>\n</body>\n</html>\n"


def _head(result: CrawlResult) -> Iterator[str]:
    style = files("roost.export").joinpath("report.css").read_text()
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex">\n'
        f"<title>Crawl of {_text(result.url)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    )
    partly = ' <span class="held">Incomplete: something is missing from it.</span>' if result.truncated else ""
    yield (
        f"<header>\n<h1>Crawl of {_link(result.url)}</h1>\n"
        f'<p class="quiet">{_text(str(result.outcome))} in {result.elapsed_s:.1f} s, {result.depth} links deep.{partly}'
        "</p>\n</header>\n<main>\n"
    )


def _summary(result: CrawlResult) -> Iterator[str]:
    figures = {"URLs listed": result.listed, "Pages fetched": result.fetched}
    if result.broken is not None:
        figures |= {"Pages checked": result.checked, "Broken links": len(result.broken)}
    figures |= {"Failed": len(result.failed), "Skipped": len(result.skipped)}
    cells = "".join(f"<div><dt>{name}</dt><dd>{count:,}</dd></div>" for name, count in figures.items())
    yield f'<dl class="figures">{cells}</dl>\n'


def _levels(result: CrawlResult) -> Iterator[str]:
    failed, skipped = {url for url, _ in result.failed}, {url for url, _ in result.skipped}
    most = max(map(len, result.levels), default=1)
    lines = []
    for level, urls in enumerate(result.levels):
        bar = f'<td class="bar"><span style="width:{100 * len(urls) / most:.1f}%"></span></td>'
        counts = (len(urls), sum(url in failed for url in urls), sum(url in skipped for url in urls))
        cells = "".join(f'<td class="n">{count:,}</td>' for count in counts)
        lines.append(f'<tr><th scope="row">{level}</th>{cells}{bar}</tr>\n')
    heads = ["Level", "URLs", "Failed", "Skipped", ""]
    yield from _table("Levels", "URLs by how many links away they were first found", heads, lines, (1, 2, 3))


def _broken(broken: Sequence[BrokenLink]) -> Iterator[str]:
    lines = []
    for link in broken:
        pages = [_link(page) for page in link.pages]
        if link.count > len(pages):
            pages.append(f"and {link.count - len(pages):,} more")
        where = f'<td class="url"><ul>{"".join(f"<li>{page}</li>" for page in pages)}</ul></td>'
        lines.append(f'<tr>{_cell("url", link.url)}<td class="bad">{_text(link.reason)}</td>{where}</tr>\n')
    if lines:
        yield from _table("Broken links", "Where they lead and which pages have them", ["Link", "Why", "On"], lines)
    else:
        yield "<section>\n<h2>Broken links</h2>\n<p>None were found.</p>\n</section>\n"


def _reasons(title: str, caption: str, pages: list[tuple[str, str]]) -> Iterator[str]:
    if pages:
        counts = Counter(reason for _, reason in pages).most_common()
        lines = [f'<tr><td>{_text(reason)}</td><td class="n">{count:,}</td></tr>\n' for reason, count in counts]
        yield from _table(title, caption, ["Why", "Pages"], lines, (1,), "wide small")


def _slowest(result: CrawlResult) -> Iterator[str]:
    timed = [page for page in (result.pages or {}).values() if page.time_s is not None]
    if len(timed) > MOST_SLOW:
        slow = sorted(timed, key=lambda page: -(page.time_s or 0.0))[:MOST_SLOW]
        lines = [f'<tr>{_cell("url", page.url)}<td class="n">{page.time_s:.3f}</td></tr>\n' for page in slow]
        yield from _table("Slowest pages", "Of all pages that were fetched", ["URL", "Seconds"], lines, (1,))


def _pages(result: CrawlResult) -> Iterator[str]:
    shown = [name for name in columns(result) if name not in _OTHER_COLUMNS]
    yield "<section>\n<h2>All URLs</h2>\n"
    for level, group in groupby(rows(result), lambda row: row.level):
        lines = list(group)
        title = "Elsewhere" if level is None else f"Level {level}"
        names = [name for name in shown if any(row.value(name) is not None for row in lines)]
        heads = [_HEADS.get(name, name) for name in names]
        numbers = tuple(index for index, name in enumerate(names) if name in _NUMBERS)
        fold = "" if len(lines) > OPEN_ROWS else " open"
        yield f"<details{fold}>\n<summary>{title}: {len(lines):,}</summary>\n"
        yield from _bare_table(title, "", heads, (_row(names, row) for row in lines), numbers)
        yield "</details>\n"
    yield "</section>\n"


def _row(names: Sequence[str], row: Row) -> str:
    cells = (_outcome(row) if name == "outcome" else _cell(name, row.value(name)) for name in names)
    return f"<tr>{''.join(cells)}</tr>\n"


def _outcome(row: Row) -> str:
    if not row.outcome:
        return "<td></td>"
    return f'<td class="{"bad" if row.outcome == "failed" else "held"}">{row.outcome}: {_text(row.reason)}</td>'


def _cell(name: str, value: object) -> str:
    if value is None:
        return "<td></td>"
    if name in _LINKS:
        return f'<td class="url">{_link(str(value))}</td>'
    if isinstance(value, float):
        return f'<td class="n">{value:.3f}</td>'
    if isinstance(value, int):
        return f'<td class="n">{value if name == "status" else format(value, ",")}</td>'
    if isinstance(value, list):
        return f"<td><ul>{''.join(f'<li><bdi>{_text(str(item))}</bdi></li>' for item in value)}</ul></td>"
    return f"<td><bdi>{_text(str(value))}</bdi></td>"


def _table(
    title: str,
    caption: str,
    heads: Sequence[str],
    lines: Iterable[str],
    numbers: tuple[int, ...] = (),
    style: str = "wide",
) -> Iterator[str]:
    yield f"<section>\n<h2>{title}</h2>\n"
    yield from _bare_table(title, caption, heads, lines, numbers, style)
    yield "</section>\n"


def _bare_table(
    title: str,
    caption: str,
    heads: Sequence[str],
    lines: Iterable[str],
    numbers: tuple[int, ...],
    style: str = "wide",
) -> Iterator[str]:
    yield f'<div class="{style}" tabindex="0" role="region" aria-label="{_text(title)}">\n<table>\n'
    yield (f"<caption>{_text(caption)}</caption>\n" if caption else "") + "<thead><tr>"
    for index, head in enumerate(heads):
        number = ' class="n"' if index in numbers else ""
        yield f'<th scope="col"{number}>{_text(head)}</th>' if head else "<td></td>"
    yield "</tr></thead>\n<tbody>\n"
    yield from lines
    yield "</tbody>\n</table>\n</div>\n"


def _link(url: str) -> str:
    """The URL as a link if it is a web address, otherwise as text."""
    text = _text(url)
    if not url.startswith(("http://", "https://")):
        return f"<bdi>{text}</bdi>"
    return f'<a href="{text}" rel="noreferrer nofollow">{text}</a>'


def _text(text: str) -> str:
    """Text escaped for use between tags or quotes; characters that are not printable become U+FFFD."""
    return escape("".join(c if c.isprintable() else "\ufffd" for c in text))
