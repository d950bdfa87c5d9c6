"""What is wrong with a store in a SQLite file: the file itself, its version and indexes, and then its rows."""

from __future__ import annotations

import re
import sqlite3

from roost.backend.store.administration import Findings
from roost.backend.store.findings import LEASE_LOST_S, WAITS_LONG_S, judge
from roost.backend.store.sqlite.schema import VERSION, read_version
from roost.backend.store.statements import load

MOST_FAULTS = 5
"""Damages that are named: one is enough to act on."""
_INDEX = re.compile(r"^(CREATE (?:UNIQUE )?INDEX (\w+) ON .*?);", re.MULTILINE | re.DOTALL)


def inspect(db: sqlite3.Connection, path: str, wall: float, retention_s: float) -> Findings:
    """Return all that was found. `wall` is the time in seconds, `retention_s` how long lock servers keep outcomes."""
    faults = [row[0] for row in db.execute(f"PRAGMA integrity_check({MOST_FAULTS})") if row[0] != "ok"]
    if faults:
        return Findings([
            f"{path} is damaged ({'; '.join(faults)}): stop its lock servers, bring a backup back, and run "
            "`roost store restored`."
        ])  # fmt: skip
    version = read_version(db)
    if version == 0:
        return Findings([f"There are no tables of Roost in {path}: run `roost store migrate`, or start a lock server."])
    if version > VERSION:
        return Findings(
            [f"{path} was written by a newer Roost (schema {version}): use that one's `roost store check`."]
        )
    if version < VERSION:
        return Findings([
            f"{path} has the tables of an older version (schema {version}, this one has {VERSION}): "
            "run `roost store migrate`, or start a lock server."
        ])  # fmt: skip
    return _indexes(db) + _rows(db, path, wall, retention_s)


def _indexes(db: sqlite3.Connection) -> Findings:
    found = {name for (name,) in db.execute(load("sqlite/administration.sql")["indexes"])}
    expected = _INDEX.findall(load("sqlite/statements.sql")["schema"])
    return Findings([
        f"The index {name} is missing, so that queries read whole tables: {statement}."
        for statement, name in expected
        if name not in found
    ])  # fmt: skip


def _rows(db: sqlite3.Connection, path: str, wall: float, retention_s: float) -> Findings:
    sql = load("sqlite/administration.sql")
    db.row_factory = sqlite3.Row
    clock = db.execute(sql["clock"], {"wall": wall}).fetchone()
    if clock is None:
        return Findings([f"The row of the table clock in {path} is missing: bring a backup back."])
    found = judge("clock", clock)
    for name, before in (
        ("expired_leases", LEASE_LOST_S),
        ("waiting", WAITS_LONG_S),
        ("lost_requests", retention_s),
        ("stray_results", 0.0),
        ("numbers", 0.0),
    ):
        found += judge(name, db.execute(sql[name], {"now": clock["now"], "before": before}).fetchone())
    return found
