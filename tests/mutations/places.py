"""Where things stand, and who watches over them."""

from __future__ import annotations

from tests.mutations.mutation import Selection

SQLITE, LEDGER, ACQUIRE = (
    "backend/store/sqlite/statements.sql",
    "backend/store/sqlite/decisions.py",
    "backend/store/sqlite/acquire.py",
)
PAGE, EMBEDDED = "backend/store/sqlite/transaction.py", "backend/store/sqlite/sqlite_store.py"
PORT = "backend/store/port.py"
POSTGRES = "backend/store/postgres"
_FUNCTIONS = ("02_clock", "03_locks", "04_requests", "05_endings", "06_offers", "07_acquire", "09_leases", "10_tick")
CLOCK, LOCKS, OF_CLIENTS, ENDINGS, OFFERED, GRANTS, TIME, TICK = (
    f"{POSTGRES}/functions/{name}.sql" for name in _FUNCTIONS
)
DECIDED = f"{POSTGRES}/functions/08_decide.sql"
ENGINE = f"{POSTGRES}/postgres_store.py"
REQUESTS, SWEEPING = "backend/client_protocol/requests.py", "backend/client_protocol/poll_schedule.py"
MASTER, INTAKE, RUN = "backend/master/master.py", "backend/master/job_acquirer.py", "backend/master/job_run.py"
WORKER, WATCHDOG = "backend/worker/worker.py", "backend/worker/watchdog.py"


def contract(engine: str, rule: str) -> Selection:
    """The store's promises about a rule, over an engine."""
    return ("tests/backend/store/test_store.py", "-k", f"TestContract and {engine} and {rule}")


EVERY_STATE = ("tests/backend/store/test_every_state.py",)
SHARED = "tests/backend/store/test_postgres.py"
MASTER_TESTS = ("tests/backend/master/test_master.py",)
WORKER_TESTS = ("tests/backend/worker/test_worker.py",)
WATCHDOG_TESTS = ("tests/system/test_watchdog.py", "-k", "ends_its_worker and spin")
FENCES = "(p14 or p24)"
