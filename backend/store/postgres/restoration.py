"""What makes a PostgreSQL store that was brought back from a backup ready for use again (P30)."""

from __future__ import annotations

from typing import Any

from roost.backend.store.administration import Backup, restored, used_meanwhile
from roost.backend.store.postgres.schema import is_current
from roost.backend.store.statements import load
from roost.wire.errors import Misuse


async def look_back(connection: Any) -> Backup:
    """Return what the backup holds. Raises Misuse when it is of another version."""
    if not await is_current(connection):
        raise Misuse("the store is not of this version: run `roost store migrate` first")
    (row,) = await connection.fetch(load("postgres/administration.sql")["backup"])
    return Backup(**dict(row))


async def go_on(connection: Any, backup: Backup) -> list[str]:
    """Move tokens and job ids on, and make all leases void, in one transaction."""
    sql = load("postgres/administration.sql")
    async with connection.transaction():
        if await connection.fetchval(sql["lock_clock"]) != backup.ticked_at:
            raise used_meanwhile()
        (last,) = await connection.fetch(sql["last_numbers"])
        token, job = backup.next_number(last["token"]), backup.next_number(last["job"])
        await connection.fetch(sql["set_numbers"], token, job)
        voided = int((await connection.execute(sql["void_leases"])).split()[1])
        await connection.execute(sql["void_reservations"])
    return restored(token, job, voided)
