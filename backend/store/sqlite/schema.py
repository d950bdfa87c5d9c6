"""The schema of the SQLite store: `PRAGMA user_version` says which one a file has."""

from __future__ import annotations

import logging
import sqlite3

from roost.backend.store.statements import load
from roost.wire.errors import Misuse

log = logging.getLogger(__name__)

VERSION = 3
"""Of the tables in ``statements.sql``. Files of 0.1 have 1 or 2."""


def prepare(db: sqlite3.Connection, path: str, retention_s: float) -> int:
    """Make the tables in an empty file, or convert those of 0.1, in one transaction. Returns the version it had.

    `retention_s` is how long outcomes of 0.1 are kept, which did not store that. Raises Misuse when a newer version has
    written the file.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        version = read_version(db)
        if version > VERSION:
            raise Misuse(f"{path} was written by a newer Roost (schema {version}): use that one, or another file")
        if version == 0:
            _run(db, load("sqlite/statements.sql")["schema"])
        elif version < VERSION:
            _convert(db, version, retention_s)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    if 0 < version < VERSION:
        log.info("store of 0.1 converted", extra={"action": "store_converted", "path": path})
    return version


def read_version(db: sqlite3.Connection) -> int:
    """Return the version of the tables in a file; 0 when there are none."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _convert(db: sqlite3.Connection, version: int, retention_s: float) -> None:
    """Copy a file of 0.1 into the tables of 0.2."""
    sql = load("sqlite/from_0_1.sql")
    if version == 1:
        _run(db, sql["schema_1_to_2"])
    _run(db, sql["set_aside"])
    _run(db, load("sqlite/statements.sql")["schema"])
    _run(db, sql["copy"], retention_s=retention_s)


def _run(db: sqlite3.Connection, statements: str, **values: float) -> None:
    """Run statements one by one: `executescript` would commit before."""
    for statement in statements.split(";\n"):
        db.execute(statement, values)
