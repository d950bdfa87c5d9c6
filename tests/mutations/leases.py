"""Who may write about a job, for how long, and who is granted it."""

from __future__ import annotations

from tests.mutations.mutation import Change, Mutation
from tests.mutations.places import (
    ACQUIRE,
    CLOCK,
    ENDINGS,
    FENCES,
    GRANTS,
    INTAKE,
    LEDGER,
    LOCKS,
    MASTER,
    MASTER_TESTS,
    PAGE,
    RUN,
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
        (Change(LEDGER, "if token != done.token:", "if token is None:"),),
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
        "a complete compares no token",
        (
            Change(
                ENDINGS, "FROM jobs WHERE id = c.job AND token = c.token OFFSET", "FROM jobs WHERE id = c.job OFFSET", 2
            ),
        ),
        contract("postgresql", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "parts of an older token stay with the result",
        (Change(ENDINGS, "AND (p.token <> done.token OR NOT done.has_parts)", "AND NOT done.has_parts"),),
        ("tests/backend/store", "-k", "postgres and (p14 or p24 or every or model)"),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "beats compare no tokens",
        (
            Change(
                TIME,
                "WHERE id = r.job AND token = r.token AND state = 'running'",
                "WHERE id = r.job AND state = 'running'",
                count=2,
            ),
        ),
        contract("postgresql", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "a part is stored whatever the token",
        (Change(TIME, "WHERE id = of AND token = under AND state = 'running'", "WHERE id = of AND state = 'running'"),),
        contract("postgresql", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "a release compares no token",
        (
            Change(
                ENDINGS,
                "WHERE id = r.job AND token = r.token AND state = 'running';",
                "WHERE id = r.job AND state = 'running';",
            ),
        ),
        contract("postgresql", FENCES),
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "a grant keeps the token of the one before",
        (Change(GRANTS, "SET state = 'running', token = tokens[t.serial],", "SET state = 'running',"),),
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
        (Change(CLOCK, "m.may_reap := m.now >= m.no_reap_before;", "m.may_reap := true;"),),
        contract("postgresql", "p15"),
    ),
    Mutation(
        "P8 (SQLite)",
        "the nonce is not compared",
        (Change(SQLITE, "WHERE nonce = :nonce AND master = :master", "WHERE master = :master"),),
        contract("sqlite", "(p8 or p9)"),
    ),
    Mutation(
        "P8 (PostgreSQL)",
        "the nonce is not compared",
        (
            Change(LOCKS, "(SELECT id FROM jobs WHERE nonce = a.nonce OFFSET 0) j", "(SELECT id FROM jobs OFFSET 0) j"),
            Change(GRANTS, "FROM jobs WHERE nonce = a.nonce OFFSET 0) j", "FROM jobs OFFSET 0) j"),
        ),
        contract("postgresql", "(p8 or p9 or p16)"),
    ),
    Mutation(
        "P8 (PostgreSQL)",
        "a nonce opens another master's grant",
        (Change(GRANTS, "WHERE j.master = a.master AND j.lease_until > m.now", "WHERE j.lease_until > m.now"),),
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
        "a lost lease does not count",
        (Change(GRANTS, "job.attempt := job.attempt + job.is_lost::integer;", ""),),
        contract("postgresql", "p16"),
    ),
    Mutation(
        "P5 (PostgreSQL)",
        "waiting jobs come before expired leases",
        (Change(GRANTS, "0 AS number, true AS is_special, 0 AS class", "0 AS number, true AS is_special, 2 AS class"),),
        contract("postgresql", "p5"),
    ),
    Mutation(
        "P16 (PostgreSQL)",
        "no master is kept free for a job that wants one for itself",
        (Change(GRANTS, "ELSIF may_reserve AND", "ELSIF false AND"),),
        contract("postgresql", "p16"),
    ),
    Mutation(
        "P16",
        "a master takes others beside a job that two died under",
        (Change(RUN, "self.wants_master = grant.attempt >= ALONE_FROM", "self.wants_master = False"),),
        MASTER_TESTS,
    ),
)
