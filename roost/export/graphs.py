"""A crawl's links as a graph: an edge list, DOT for Graphviz, GraphML for Gephi, yEd, NetworkX and others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from roost.export.rows import Row, rows

if TYPE_CHECKING:
    from roost.backend.kinds.crawl.output.crawl_result import CrawlResult

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KEYS = {
    "url": "string",
    "level": "int",
    "outcome": "string",
    "reason": "string",
    "status": "int",
    "type": "string",
    "bytes": "long",
    "time_s": "double",
}


def edges(result: CrawlResult) -> Iterator[tuple[str, str]]:
    """Each link between listed URLs, in the order of the pages."""
    for url, targets in (result.links or {}).items():
        for target in targets:
            yield url, target


def edge_list(result: CrawlResult) -> Iterator[str]:
    """A line for each link: source and target, separated by a space. URLs contain no spaces."""
    return (f"{source} {target}\n" for source, target in edges(result))


def dot(result: CrawlResult) -> Iterator[str]:
    """The graph in the DOT language."""
    yield "digraph crawl {\n  rankdir=LR;\n  node [shape=box];\n"
    for row in rows(result):
        level = "" if row.level is None else f" level={row.level}"
        note = f" tooltip={_quoted(f'{row.outcome}: {row.reason}')} style=dashed" if row.outcome else ""
        yield f"  {_quoted(row.url)} [URL={_quoted(row.url)}{level}{note}];\n"
    for source, target in edges(result):
        yield f"  {_quoted(source)} -> {_quoted(target)};\n"
    yield "}\n"


def graphml(result: CrawlResult) -> Iterator[str]:
    """The graph in GraphML, with the known data of each URL."""
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
    for name, kind in _KEYS.items():
        yield f'  <key id="{name}" for="node" attr.name="{name}" attr.type="{kind}"/>\n'
    yield '  <graph edgedefault="directed">\n'
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows(result)):
        numbers[row.url] = number
        yield _node(number, row)
    for source, target in edges(result):
        yield f'    <edge source="n{numbers[source]}" target="n{numbers[target]}"/>\n'
    yield "  </graph>\n</graphml>\n"


def _node(number: int, row: Row) -> str:
    known = ((name, row.value(name)) for name in _KEYS)
    data = "".join(f'<data key="{name}">{xml_text(str(value))}</data>' for name, value in known if value is not None)
    return f'    <node id="n{number}">{data}</node>\n'


def xml_text(text: str) -> str:
    """Text escaped for XML 1.0, for use between tags or quotes; characters that XML forbids become U+FFFD."""
    return escape(_NO_XML.sub("\ufffd", text))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
