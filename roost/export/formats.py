"""Writes a crawl's result in one of these formats.

``tree``    URLs under a heading for each level, indented by level, for people
``json``    one object with the whole result
``jsonl``   one object for each URL: ``url``, ``level`` and, where a page failed or was skipped, ``outcome`` and
            ``reason``; with `detail` also ``parent``, ``status``, ``type``, ``bytes``, ``time_s``, ``landed`` (the
            URL after redirects), ``canonical``, and with `check` ``named_by``, the pages that have a broken link;
            with `select` what was extracted, by its name
``csv``     the same fields in columns
``edges``   a line for each link: from, to (`roost.export.graphs`)
``dot``, ``graphml``  the links as a graph (`roost.export.graphs`)
``sitemap`` a sitemap.xml of the pages that were fetched (`roost.export.sitemap_xml`)
``html``    a report for people, in one file (`roost.export.html_report`)
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from roost.export.graphs import dot, edge_list, graphml
from roost.export.html_report import report
from roost.export.printable import printable
from roost.export.rows import Row, columns, rows
from roost.export.sitemap_xml import sitemap
from roost.wire.codec import to_json

if TYPE_CHECKING:
    from roost.backend.kinds.crawl.output.crawl_result import CrawlResult

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes a cell that begins with one of these as a formula; a quote before it makes it text."""

INDENT = "  "


class Format(StrEnum):
    """The formats in which a result can be written."""

    TREE = "tree"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    EDGES = "edges"
    DOT = "dot"
    GRAPHML = "graphml"
    SITEMAP = "sitemap"
    HTML = "html"


NEEDS: dict[Format, str] = {
    Format.EDGES: "links",
    Format.DOT: "links",
    Format.GRAPHML: "links",
    Format.SITEMAP: "detail",
    Format.HTML: "detail",
}
"""The option of a crawl that fills the data which a format needs."""


def write_as(result: CrawlResult, form: Format) -> Iterator[bytes]:
    """The result in this format as UTF-8, in pieces."""
    match form:
        case Format.JSON:
            yield msgspec.json.format(to_json(result.to_dict()), indent=2) + b"\n"
        case Format.JSONL:
            names = columns(result)
            yield from (to_json(row.as_dict(names)) + b"\n" for row in rows(result))
        case Format.CSV:
            yield from _csv(result)
        case _:
            write = {
                Format.TREE: _tree,
                Format.EDGES: edge_list,
                Format.DOT: dot,
                Format.GRAPHML: graphml,
                Format.SITEMAP: sitemap,
                Format.HTML: report,
            }[form]
            yield from (piece.encode() for piece in write(result))


def _tree(result: CrawlResult) -> Iterator[str]:
    shown: object = ()
    for row in rows(result):
        if row.level != shown:
            shown = row.level
            yield f"level {row.level}: {len(result.levels[row.level])}\n" if row.level is not None else "elsewhere\n"
        indent = INDENT * ((row.level or 0) + 1)
        yield f"{indent}{row.url}{_note(row)}\n"
        for name in result.select:
            yield from (f"{indent}{INDENT}{name}: {printable(value)}\n" for value in row.value(name) or ())
    for link in result.broken or ():
        yield f"broken: {link.url}  [{link.reason}]\n"
        yield from (f"{INDENT}on {page}\n" for page in link.pages)
        if link.count > len(link.pages):
            yield f"{INDENT}and on {link.count - len(link.pages)} more\n"


def _note(row: Row) -> str:
    page, on = row.page, f"linked from {row.parent}" if row.page is not None and row.parent else ""
    if row.outcome:
        return f"  [{row.outcome}: {row.reason}{f', {on}' if on else ''}]"
    if page is None:
        return ""
    notes = (
        str(page.status),
        page.type,
        f"{page.bytes:,} bytes" if page.bytes is not None else "",
        f"{page.time_s:.3f} s" if page.time_s is not None else "",
        f"landed at {page.landed}" if page.landed else "",
        on,
        f"nothing extracted: {page.trouble}" if page.trouble else "",
        f"canonical {page.canonical}" if page.canonical not in ("", row.url) else "",
    )
    return f"  [{', '.join(filter(None, notes))}]"


def _csv(result: CrawlResult) -> Iterator[bytes]:
    line, names = io.StringIO(), columns(result)
    writer = csv.writer(line, lineterminator="\r\n")
    yield ",".join(names).encode() + b"\r\n"
    for row in rows(result):
        writer.writerow([_cell(row.value(name), " " if name == "named_by" else " | ") for name in names])
        yield line.getvalue().encode()
        line.seek(0)
        line.truncate()


def _cell(value: object, separator: str) -> str:
    if value is None:
        return ""
    return as_text(separator.join(map(str, value)) if isinstance(value, list) else str(value))


def as_text(cell: str) -> str:
    """The cell, written so that no spreadsheet takes it as a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
