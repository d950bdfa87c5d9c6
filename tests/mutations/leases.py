"""Who may write about a job, for how long, and who is granted it."""

from __future__ import annotations

from tests.mutations.mutation import Change, Mutation
from tests.mutations.places import (
    ACQUIRE,
    AWAY,
    CALLS,
    FENCES,
    INTAKE,
    LAST,
    LEDGER,
    MANY,
    MASTER,
    MASTER_TESTS,
    PAGE,
    RUN,
    SECOND,
    SQLITE,
    TIME,
    WORKER,
    WORKER_TESTS,
    contract,
)

TOKENS = (
    Mutation(
        "P14 (SQLite)",
        "complete compares no token",
        (
            Change(LEDGER, "if token != done.token:", "if token is None:"),
            Change(LEDGER, "self.end(done.job, done.token, EVENT", "self.end(done.job, None, EVENT"),
        ),
        contract("sqlite", FENCES),
    ),
    Mutation(
        "P14 (SQLite)",
        "a beat compares no token",
        (
            Change(
                SQLITE,
                "WHERE id = :job AND token = :token AND state = 'running' RETURNING cancel",
                "WHERE id = :job AND state = 'running' RETURNING cancel",
            ),
        ),
        contract("sqlite", FENCES),
    ),
    Mutation(
        "P14 (SQLite)",
        "a part is stored whatever the token",
        (
            Change(
                SQLITE,
                "FROM jobs WHERE id = :job AND token = :token AND state = 'running'\nON CONFLICT",
                "FROM jobs WHERE id = :job AND state = 'running'\nON CONFLICT",
            ),
        ),
        contract("sqlite", FENCES),
    ),
    Mutation(
        "P14 (SQLite)",
        "a release compares no token",
        (
            Change(
                SQLITE,
                "WHERE id = :job AND token = :token AND state = 'running';\n-- name: request_cancel",
                "WHERE id = :job AND state = 'running';\n-- name: request_cancel",
            ),
        ),
        contract("sqlite", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "a batch of completes compares no tokens",
        (Change(MANY, "FROM jobs WHERE id = a.job AND token = a.token\n", "FROM jobs WHERE id = a.job\n"),),
        contract("postgresql", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "a single complete compares no token",
        (Change(SECOND, "IF job.token IS DISTINCT FROM a.token THEN", "IF job.token IS NULL THEN"),),
        contract("postgresql", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "beats compare no tokens",
        (
            Change(
                TIME,
                "WHERE id = b.job AND token = b.token AND state = 'running'",
                "WHERE id = b.job AND state = 'running'",
                count=2,
            ),
        ),
        contract("postgresql", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "a part is stored whatever the token",
        (Change(CALLS, "WHERE id = $1 AND token = $2 AND state", "WHERE id = $1 AND $2::bigint > 0 AND state"),),
        contract("postgresql", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "a release compares no token",
        (
            Change(
                SECOND,
                "WHERE id = a.job AND token = a.token AND state = 'running';",
                "WHERE id = a.job AND state = 'running';",
            ),
        ),
        contract("postgresql", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "a grant keeps the token of the one before",
        (Change(LAST, "SET state = 'running', token = nextval('tokens'),", "SET state = 'running',"),),
        contract("postgresql", "(p8 or p14)"),
    ),
    Mutation(
        "P14",
        "a cancel drops newer tokens too",
        (
            Change(
                WORKER, "return task.token <= self._cancelled.get(task.job, -1)", "return task.job in self._cancelled"
            ),
        ),
        WORKER_TESTS,
    ),
)

LEASES = (
    Mutation(
        "P13",
        "a grant is trusted from its answer on, not from the send",
        (Change(INTAKE, "return answer, asked_at", "return answer, self._clock.monotonic()"),),
        MASTER_TESTS,
    ),
    Mutation(
        "P13",
        "a beat is trusted from its answer on, not from the send",
        (
            Change(
                MASTER,
                "runner.on_lease_answer(answer, sent_at)",
                "runner.on_lease_answer(answer, self._clock.monotonic())",
            ),
        ),
        MASTER_TESTS,
    ),
    Mutation(
        "P13",
        "a master trusts its lease to the last moment",
        (Change(RUN, "TRUST_MARGIN_S = 1.0", "TRUST_MARGIN_S = 0.0"),),
        ("tests/backend/master/test_master_run.py",),
    ),
    Mutation(
        "P15 (SQLite)",
        "leases are lost while the store was away",
        (Change(PAGE, "self.may_reap = now >= self.no_reap_before", "self.may_reap = True"),),
        contract("sqlite", "p15"),
    ),
    Mutation(
        "P15 (PostgreSQL)",
        "leases are lost while the store was away",
        (Change(AWAY, "m.may_reap := m.now >= m.no_reap_before;", "m.may_reap := true;"),),
        contract("postgresql", "p15"),
    ),
    Mutation(
        "P8 (SQLite)",
        "the nonce is not compared",
        (Change(SQLITE, "WHERE nonce = :nonce AND owner = :master", "WHERE owner = :master"),),
        contract("sqlite", "(p8 or p9)"),
    ),
    Mutation(
        "P8 (PostgreSQL)",
        "the nonce is not compared",
        (Change(LAST, "WHERE nonce = a.nonce AND owner = a.who", "WHERE owner = a.who"),),
        contract("postgresql", "(p8 or p9 or p16)"),
    ),
    Mutation(
        "P8 (PostgreSQL)",
        "a nonce opens another master's grant",
        (Change(LAST, "WHERE nonce = a.nonce AND owner = a.who", "WHERE nonce = a.nonce"),),
        contract("postgresql", "p8"),
    ),
    Mutation(
        "P16 (SQLite)",
        "a lost lease does not count",
        (Change(ACQUIRE, "attempt += int(bool(lost))", "attempt += 0"),),
        contract("sqlite", "p16"),
    ),
    Mutation(
        "P16 (PostgreSQL)",
        "no master is kept free for a job that wants one for itself",
        (Change(LAST, "ELSIF m.now - job.ready_at >= r.alone_wait_s AND", "ELSIF false AND"),),
        contract("postgresql", "p16"),
    ),
    Mutation(
        "P16",
        "a master takes others beside a job that two died under",
        (Change(RUN, "self.wants_master = grant.attempt >= ALONE_FROM", "self.wants_master = False"),),
        MASTER_TESTS,
    ),
)
