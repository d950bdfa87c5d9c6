"""Stores a client's identity in a file, so that a restarted program is the same client and can fetch its results.

The file contains a bearer secret: only its owner may read it, and it is replaced as a whole.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from msgspec import Struct

from roost.wire.codec import JsonReader, to_json
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, DecodeError

MAX_FILE_BYTES = 4096


class Identity(Struct, frozen=True):
    """A session and the greatest epoch used with it (P1, P2)."""

    session: str | None = None
    epoch: int = 0


_read: JsonReader[Identity] = JsonReader(Identity, "session file")


def load_identity(path: Path) -> Identity:
    """The identity in the file; a new one if there is no file. Raises BadInput for a file that cannot be used."""
    try:
        with path.open("rb") as file:
            return _read(file.read(MAX_FILE_BYTES))
    except FileNotFoundError:
        return Identity()
    except DecodeError as problem:
        raise BadInput(
            ErrorCode.BAD_TOKEN, f"{path} is not a session file: delete it, or choose another file"
        ) from problem
    except OSError as problem:
        raise BadInput(ErrorCode.BAD_TOKEN, f"cannot read {path}: {problem.strerror}") from problem


def save_identity(path: Path, identity: Identity) -> None:
    """Replace the file. Raises BadInput when that cannot be done."""
    fresh = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(to_json(identity))
        fresh.replace(path)
    except OSError as problem:
        fresh.unlink(missing_ok=True)
        raise BadInput(ErrorCode.BAD_TOKEN, f"cannot keep the session in {path}: {problem.strerror}") from problem
