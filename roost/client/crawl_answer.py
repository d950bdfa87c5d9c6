"""Conversion of a crawl's answer into a `CrawlResult`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from roost.client.effects import Answer

if TYPE_CHECKING:
    from roost.backend.kinds.crawl.output.crawl_result import CrawlResult


def assemble_crawl(spec: Mapping[str, Any], answer: Answer) -> CrawlResult:
    """The crawl's result; an empty one for this `spec` when the crawl ended before it began. Raises DecodeError."""
    from roost.backend.kinds.crawl.output.crawl_result import CrawlResult, read_result

    if answer.summary:
        return replace(read_result(answer.summary, answer.parts), outcome=answer.outcome)
    return CrawlResult(
        url=str(spec.get("url", "")),
        depth=int(spec.get("depth", 0)),
        outcome=answer.outcome,
        truncated=True,
        levels=[],
        fetched=0,
        failed=[],
        skipped=[],
        elapsed_s=0.0,
    )
