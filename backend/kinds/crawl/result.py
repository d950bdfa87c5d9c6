"""How a crawl's answer is laid out in parts, and put together again.

A part is a JSON object with one of these fields, and at most `PART_BYTES` long:

* ``{"level": k, "urls": [...]}``: URLs of level k in order; a big level takes several parts;
* ``{"failed": [[url, reason], ...]}`` and ``{"skipped": [[url, reason], ...]}``, see `reasons`.

The summary is a JSON object, `Summary`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from backend.kinds.api import LevelPiece
from backend.kinds.crawl.spec import MAX_DEPTH
from wire.codec import JsonReader, to_json
from wire.messages.outcome import PART_BYTES, Outcome

PIECE_BYTES = 32 * 1024
"""Of a level's URLs in one message to a client that streams."""
MAX_PIECES = 64
"""Per level; a client that streams is shown the first 2 MiB of a level, and has the rest in the result."""


class Summary(Struct, frozen=True):
    """What is said of a crawl beside its lists.

    `listed`: URLs in all levels. `fetched`: pages that were fetched. `truncated`: something is missing, because
    of a limit or because the crawl did not come to its end.
    """

    url: str
    depth: int
    outcome: Outcome
    truncated: bool
    listed: int
    fetched: int
    elapsed_s: float


class Part(Struct, frozen=True):
    """One part, read."""

    level: Annotated[int, Meta(ge=0, le=MAX_DEPTH)] | None = None
    urls: list[str] = []
    failed: list[tuple[str, str]] = []
    skipped: list[tuple[str, str]] = []


_read_summary: JsonReader[Summary] = JsonReader(Summary, "crawl summary")
_read_part: JsonReader[Part] = JsonReader(Part, "crawl part")


class Reasons:
    """Pages with a reason each, in order; two pointers a page."""

    def __init__(self) -> None:
        self._urls: list[str] = []
        self._reasons: list[str] = []

    def add(self, url: str, reason: str) -> None:
        """Append."""
        self._urls.append(url)
        self._reasons.append(reason)

    def copy(self) -> Reasons:
        """Another one with the same pages."""
        other = Reasons()
        other._urls, other._reasons = self._urls.copy(), self._reasons.copy()
        return other

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self._urls, self._reasons, strict=True)


def result_parts(levels: Iterable[list[str]], failed: Reasons, skipped: Reasons) -> Iterator[bytes]:
    """The answer in parts."""
    for number, urls in enumerate(levels):
        yield from _arrays(urls, b'{"level":%d,"urls":[' % number, b"]}", PART_BYTES)
    yield from _arrays(failed, b'{"failed":[', b"]}", PART_BYTES)
    yield from _arrays(skipped, b'{"skipped":[', b"]}", PART_BYTES)


def level_pieces(level: int, urls: list[str]) -> Iterator[LevelPiece]:
    """The beginning of a level for clients that stream."""
    for seq, items in enumerate(islice(_arrays(urls, b"[", b"]", PIECE_BYTES), MAX_PIECES)):
        yield LevelPiece(level, seq, items)


def _arrays(items: Iterable[Any], opening: bytes, closing: bytes, most_bytes: int) -> Iterator[bytes]:
    """`items` as JSON in as few arrays as fit into `most_bytes` each; none for no items."""
    packed: list[bytes] = []
    room = empty = most_bytes - len(opening) - len(closing)
    for data in map(to_json, items):
        room -= len(data) + 1
        if room < 0 and packed:
            yield opening + b",".join(packed) + closing
            packed, room = [], empty - len(data) - 1
        packed.append(data)
    if packed:
        yield opening + b",".join(packed) + closing


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """The answer to a crawl. `failed` and `skipped` are pairs of URL and reason."""

    url: str
    depth: int
    outcome: Outcome
    truncated: bool
    levels: list[list[str]]
    fetched: int
    failed: list[tuple[str, str]]
    skipped: list[tuple[str, str]]
    elapsed_s: float

    @property
    def listed(self) -> int:
        """URLs in all levels."""
        return sum(map(len, self.levels))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "url": self.url,
            "depth": self.depth,
            "outcome": str(self.outcome),
            "truncated": self.truncated,
            "levels": self.levels,
            "listed": self.listed,
            "fetched": self.fetched,
            "failed": [{"url": url, "reason": reason} for url, reason in self.failed],
            "skipped": [{"url": url, "reason": reason} for url, reason in self.skipped],
            "elapsed_s": self.elapsed_s,
        }


def read_result(summary: bytes | msgspec.Raw, parts: Iterable[bytes | msgspec.Raw]) -> CrawlResult:
    """The inverse of `CrawlPlan.summary` and `CrawlPlan.parts`. Raises DecodeError."""
    about = _read_summary(bytes(summary))
    read = [_read_part(bytes(part)) for part in parts]
    levels: list[list[str]] = [[] for _ in range(1 + max((part.level or 0 for part in read), default=-1))]
    for part in read:
        if part.level is not None:
            levels[part.level].extend(part.urls)
    return CrawlResult(
        url=about.url,
        depth=about.depth,
        outcome=about.outcome,
        truncated=about.truncated,
        levels=levels,
        fetched=about.fetched,
        failed=list(chain.from_iterable(part.failed for part in read)),
        skipped=list(chain.from_iterable(part.skipped for part in read)),
        elapsed_s=about.elapsed_s,
    )
