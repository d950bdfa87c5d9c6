"""Writes a result to standard output, or to a file that appears only when it is complete."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from roost.cli.streams import silence
from roost.wire.errors import RoostError


class CannotWrite(RoostError):
    """The result cannot be written."""


class Target:
    """The output of a command: standard output, or a file that appears only when it is complete.

    It is made before the crawl, so that a path that cannot be written is reported at once; no file appears before
    `write`. Raises CannotWrite.
    """

    def __init__(self, path: Path | None) -> None:
        self._path: Path | None = None
        if path is None or str(path) == "-":
            if sys.stdout is None:
                raise CannotWrite("standard output is closed: name a file with --output")
            return
        with _translated(str(path)):
            self._path = path if _is_special(path) else Path(os.path.realpath(path))
            _check(self._path)

    def write(self, pieces: Iterable[bytes]) -> None:
        """Write the result. Raises CannotWrite, and BrokenPipeError when the reader of standard output is gone."""
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
    """Raise unless a file can be made beside the final one. A device or pipe is written directly."""
    if path.is_dir():
        raise CannotWrite(f"cannot write to {path}: it is a folder, name a file in it")
    if _is_special(path):
        return
    if path.exists() and not os.access(path, os.W_OK):
        raise CannotWrite(f"cannot write to {path}: it is read-only")
    with _fresh_file(path) as (_, fresh):
        fresh.unlink()


def _replace(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a new file beside the old one, then replace the old one; its permissions are kept."""
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
    """A new file in the same folder; the caller must remove or rename it."""
    fresh = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    with open(fresh, "xb") as file:
        yield file, fresh


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()


@contextlib.contextmanager
def _translated(target: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise CannotWrite(f"cannot write to {target}: {(problem.strerror or str(problem)).lower()}") from problem
