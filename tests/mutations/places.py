"""Where things stand, and who watches over them."""

from __future__ import annotations

from tests.mutations.mutation import Selection

SQLITE, LEDGER, ACQUIRE = "backend/store/sqlite.sql", "backend/store/ledger.py", "backend/store/acquire.py"
PAGE, PORT, EMBEDDED = "backend/store/page.py", "backend/store/port.py", "backend/store/sqlite.py"
POSTGRES = "backend/store/postgres"
SECOND, MANY, TIME, LAST, AWAY = (f"{POSTGRES}/{number:04}.sql" for number in range(2, 7))
CALLS, ENGINE = f"{POSTGRES}/calls.sql", f"{POSTGRES}/engine.py"
REQUESTS, SWEEPING = "backend/ingress/requests.py", "backend/ingress/sweeping.py"
MASTER, INTAKE, RUN = "backend/master/master.py", "backend/master/intake.py", "backend/master/run.py"
WORKER, WATCHDOG = "backend/worker/worker.py", "backend/worker/watchdog.py"


def contract(engine: str, rule: str) -> Selection:
    """The store's promises about a rule, over an engine."""
    return ("tests/backend/test_store.py", "-k", f"TestContract and {engine} and {rule}")


SHARED = "tests/backend/test_postgres.py"
MASTER_TESTS = ("tests/backend/test_master.py",)
WORKER_TESTS = ("tests/backend/test_worker.py",)
WATCHDOG_TESTS = ("tests/system/test_watchdog.py", "-k", "ends_its_worker and spin")
FENCES = "(p14 or p24)"
