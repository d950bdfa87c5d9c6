"""What makes a SQLite store that was brought back from a backup ready for use again (P30)."""

from __future__ import annotations

import sqlite3

from roost.backend.store.administration import Backup, restored, used_meanwhile
from roost.backend.store.sqlite.schema import VERSION, read_version
from roost.backend.store.statements import load
from roost.wire.errors import Misuse


def look_back(db: sqlite3.Connection, wall: float) -> Backup:
    """Return what the backup holds; `wall` is the time in seconds. Raises Misuse when it is of another version."""
    if read_version(db) != VERSION:
        raise Misuse("the store is not of this version: run `roost store migrate` first")
    db.row_factory = sqlite3.Row
    row = db.execute(load("sqlite/administration.sql")["backup"], {"wall": wall}).fetchone()
    return Backup(**dict(row))


def go_on(db: sqlite3.Connection, backup: Backup) -> list[str]:
    """Move tokens and job ids on, and make all leases void, in one transaction."""
    sql = load("sqlite/administration.sql")
    db.row_factory = sqlite3.Row
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("SELECT ticked_at FROM clock").fetchone()[0] != backup.ticked_at:
            raise used_meanwhile()
        last = db.execute(sql["last_numbers"]).fetchone()
        token, job = backup.next_number(last["token"]), backup.next_number(last["job"])
        running = [row["id"] for row in db.execute(sql["running"])]
        for number, each in enumerate(running, 1):
            db.execute(sql["void_lease"], {"job": each, "token": token + number})
        db.execute(sql["set_numbers"], {"token": token + len(running), "job": job})
        db.execute(sql["void_reservations"])
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return restored(token, job, len(running))
