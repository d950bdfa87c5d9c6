"""Reads SQL files that hold named statements (``-- name: word``)."""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(file: str) -> dict[str, str]:
    """Return the statements of a file in this folder by name."""
    text = files(__package__).joinpath(file).read_text(encoding="utf-8")
    pieces = _NAME.split(text)[1:]
    return {name: body.strip() for name, body in zip(pieces[::2], pieces[1::2], strict=True)}
