"""A crawl's result as one row for each URL, for tables and lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from roost.backend.kinds.crawl.output.crawl_result import CrawlResult, PageDetail

ALWAYS = ("url", "level", "outcome", "reason")
TROUBLE = "trouble"
DETAIL = ("parent", "status", "type", "bytes", "time_s", "landed", "canonical")


class Row(Struct, frozen=True):
    """One URL. `level` is None for a failed page whose URL is in no level."""

    url: str
    level: int | None
    outcome: str = ""
    reason: str = ""
    parent: str = ""
    page: PageDetail | None = None
    named_by: list[str] | None = None

    def value(self, column: str) -> Any:
        """The row's value in the column; None when it is not known."""
        if column in self.__struct_fields__:
            value = getattr(self, column)
        elif column in DETAIL or column == TROUBLE:
            value = getattr(self.page, column, None)
        else:
            value = self._selected(column)
        return None if value == "" or (column == "status" and not value) else value

    def _selected(self, name: str) -> list[str] | None:
        return (self.page.selected or {}).get(name) if self.page is not None else None

    def as_dict(self, columns: tuple[str, ...]) -> dict[str, Any]:
        """The known values of these columns, by name."""
        values = {column: self.value(column) for column in columns}
        return {column: value for column, value in values.items() if value is not None}


def columns(result: CrawlResult) -> tuple[str, ...]:
    """The columns that this result has data for."""
    names = list(ALWAYS)
    if result.broken is not None:
        names.append("named_by")
    if result.pages is not None:
        names.extend(DETAIL)
    if result.select:
        names.extend((*result.select, TROUBLE))
    return tuple(names)


def rows(result: CrawlResult) -> Iterator[Row]:
    """A row for every URL, ordered by level, with the reason if it failed or was skipped."""
    notes = {url: ("skipped", reason) for url, reason in result.skipped}
    notes |= {url: ("failed", reason) for url, reason in result.failed}
    parents, pages = result.parents or {}, result.pages or {}
    broken = {link.url: link.pages for link in result.broken or ()}
    for level, urls in enumerate(result.levels):
        for url in urls:
            outcome, reason = notes.pop(url, ("", ""))
            yield Row(url, level, outcome, reason, parents.get(url, ""), pages.get(url), broken.get(url))
    for url, (outcome, reason) in notes.items():
        yield Row(url, None, outcome, reason)
