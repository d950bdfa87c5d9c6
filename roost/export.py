"""A crawl's result as text: what each format looks like, and how it gets to its place.

``tree``    URLs under a heading for each level, indented by it, for people
``json``    one object: everything
``jsonl``   one object for each URL: ``url``, ``level`` and, where a page failed or was skipped, ``outcome``, ``reason``
``csv``     the same in columns: ``url,level,outcome,reason``
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import msgspec

from roost.streams import silence
from wire.codec import to_json
from wire.errors import RoostError

if TYPE_CHECKING:
    from backend.kinds.crawl.result import CrawlResult

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet runs a cell that begins with one of these; a quote before it makes it text."""

INDENT = "  "


class Format(StrEnum):
    """What a result may be written as."""

    TREE = "tree"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class CannotWrite(RoostError):
    """The result has nowhere to go."""


class Row(NamedTuple):
    """One URL. `level` is None for a page that failed under a URL no level lists."""

    url: str
    level: int | None
    outcome: str = ""
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Without what is not known."""
        return {key: value for key, value in self._asdict().items() if value not in ("", None)}


def rows(result: CrawlResult) -> Iterator[Row]:
    """Every URL once, by level, with why it failed or was skipped."""
    notes = {url: ("skipped", reason) for url, reason in result.skipped}
    notes |= {url: ("failed", reason) for url, reason in result.failed}
    for level, urls in enumerate(result.levels):
        for url in urls:
            yield Row(url, level, *notes.pop(url, ("", "")))
    for url, (outcome, reason) in notes.items():
        yield Row(url, None, outcome, reason)


def write_as(result: CrawlResult, form: Format) -> Iterator[bytes]:
    """The result as UTF-8, piece by piece."""
    match form:
        case Format.TREE:
            yield from (line.encode() for line in _tree(result))
        case Format.JSON:
            yield msgspec.json.format(to_json(result.to_dict()), indent=2) + b"\n"
        case Format.JSONL:
            yield from (to_json(row.as_dict()) + b"\n" for row in rows(result))
        case Format.CSV:
            yield from _csv(result)


def _tree(result: CrawlResult) -> Iterator[str]:
    shown: object = ()
    for row in rows(result):
        if row.level != shown:
            shown = row.level
            yield f"level {row.level}: {len(result.levels[row.level])}\n" if row.level is not None else "elsewhere\n"
        note = f"  [{row.outcome}: {row.reason}]" if row.outcome else ""
        yield f"{INDENT * ((row.level or 0) + 1)}{row.url}{note}\n"


def _csv(result: CrawlResult) -> Iterator[bytes]:
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\r\n")
    for cells in [Row._fields, *rows(result)]:
        writer.writerow(["" if cell is None else as_text(str(cell)) for cell in cells])
        yield line.getvalue().encode()
        line.seek(0)
        line.truncate()


def as_text(cell: str) -> str:
    """The cell, so written that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


class Target:
    """Where a result goes: standard output, or a file that appears whole or not at all.

    Made before the crawl, so that a place that cannot be written is known at once; until `write` there is no trace
    of it. Raises CannotWrite.
    """

    def __init__(self, path: Path | None) -> None:
        self._path: Path | None = None
        if path is None or str(path) == "-":
            if sys.stdout is None:
                raise CannotWrite("standard output is closed: name a file with --output")
            return
        with _translated(str(path)):
            self._path = Path(os.path.realpath(path))
            _check(self._path)

    def write(self, pieces: Iterable[bytes]) -> None:
        """Put the result in its place. Raises CannotWrite; BrokenPipeError when nobody reads standard output."""
        if self._path is None:
            _write_to_standard_output(pieces)
            return
        with _translated(str(self._path)):
            if _is_special(self._path):
                with open(self._path, "wb") as file:
                    file.writelines(pieces)
            else:
                _replace(self._path, pieces)


def _write_to_standard_output(pieces: Iterable[bytes]) -> None:
    try:
        with _translated("standard output"):
            sys.stdout.flush()
            sys.stdout.buffer.writelines(pieces)
            sys.stdout.buffer.flush()
    except (CannotWrite, BrokenPipeError):
        silence(sys.stdout)
        raise


def _check(path: Path) -> None:
    """Try whether a file can be made beside the final one. A device or pipe is written as it is."""
    if path.is_dir():
        raise CannotWrite(f"cannot write to {path}: it is a folder, name a file in it")
    if _is_special(path):
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise CannotWrite(f"cannot write to {path}: it is read-only")
    with _fresh_file(path) as (_, fresh):
        fresh.unlink()


def _replace(path: Path, pieces: Iterable[bytes]) -> None:
    """Write beside the file, then put the new one in its place, with the old one's permissions."""
    with _fresh_file(path) as (file, fresh):
        try:
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            file.writelines(pieces)
            file.close()
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _fresh_file(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file in the same folder; whoever asks for it removes or renames it."""
    fresh = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    with open(fresh, "xb") as file:
        yield file, fresh


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()


@contextlib.contextmanager
def _translated(place: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise CannotWrite(f"cannot write to {place}: {(problem.strerror or str(problem)).lower()}") from problem
