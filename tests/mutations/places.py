"""Where things stand, and who watches over them."""

from __future__ import annotations

from tests.mutations.mutation import Selection

SQLITE, LEDGER, ACQUIRE = "backend/store/sqlite.sql", "backend/store/ledger.py", "backend/store/acquire.py"
PAGE = "backend/store/page.py"
POSTGRES = "backend/store/postgres"
FIRST, SECOND, MANY, TIME, LAST = (f"{POSTGRES}/{number:04}.sql" for number in range(1, 6))
CALLS, ENGINE = f"{POSTGRES}/calls.sql", f"{POSTGRES}/engine.py"
REQUESTS = "backend/ingress/requests.py"
MASTER, INTAKE, RUN = "backend/master/master.py", "backend/master/intake.py", "backend/master/run.py"
WORKER = "backend/worker/worker.py"


def contract(engine: str, rule: str) -> Selection:
    """The store's promises about a rule, over an engine."""
    return ("tests/backend/test_store.py", "-k", f"TestContract and {engine} and {rule}")


SHARED = "tests/backend/test_postgres.py"
MASTER_TESTS = ("tests/backend/test_master.py",)
WORKER_TESTS = ("tests/backend/test_worker.py",)
FENCES = "(p14 or p24)"
