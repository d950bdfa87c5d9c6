"""From a request to the acknowledged result."""

from __future__ import annotations

from tests.mutations.mutation import Change, Mutation
from tests.mutations.places import (
    ACQUIRE,
    DECIDED,
    ENGINE,
    EVERY_STATE,
    INTAKE,
    LOCKS,
    MASTER_TESTS,
    OF_CLIENTS,
    OFFERED,
    REQUESTS,
    RUN,
    SHARED,
    SQLITE,
    TICK,
    TIME,
    WATCHDOG,
    WATCHDOG_TESTS,
    WORKER,
    WORKER_TESTS,
    contract,
)

OFFERS = (
    Mutation(
        "P5, P7",
        "an offer is acknowledged to the broker before it is stored",
        (
            Change(
                INTAKE,
                "        answer, asked_at = await self._request([offer",
                "        for delivery, _ in batch:\n            delivery.acknowledge()\n"
                "        answer, asked_at = await self._request([offer",
            ),
        ),
        MASTER_TESTS,
    ),
    Mutation(
        "P10 (SQLite)",
        "the limit of live requests is ignored",
        (Change(ACQUIRE, ">= self._limits.live_requests", "< 0"),),
        contract("sqlite", "p10"),
    ),
    Mutation(
        "P10 (PostgreSQL)",
        "the limit of live requests is ignored",
        (Change(OFFERED, "WHEN live.count >= l.live_requests THEN", "WHEN live.count >= 1000 THEN"),),
        contract("postgresql", "p10"),
    ),
    Mutation(
        "P10 (PostgreSQL)",
        "no lock is held of a client whose requests are counted",
        (
            Change(
                LOCKS,
                "SELECT client_lock(o.client) AS key FROM unnest(offers) o\n    UNION SELECT run_lock",
                "SELECT run_lock",
            ),
            Change(
                LOCKS,
                "SELECT run_lock(o.kind, o.run_key) FROM unnest(offers) o",
                "SELECT run_lock(o.kind, o.run_key) AS key FROM unnest(offers) o",
            ),
        ),
        (SHARED, "-k", "p10 or p3"),
    ),
    Mutation(
        "P3, P10 (PostgreSQL)",
        "offers of one client in one batch do not see each other",
        (
            Change(
                DECIDED,
                "IF cardinality(offers) < 2 THEN RETURN NULL",
                "IF true THEN RETURN NULL",
            ),
        ),
        ("tests/backend/store/test_batches.py",),
    ),
    Mutation(
        "P3 (PostgreSQL)",
        "the same id with another spec is the same request",
        (
            Change(
                OFFERED, "IF known.spec_digest <> o.digest OR told.state = 'gone' THEN", "IF told.state = 'gone' THEN"
            ),
        ),
        contract("postgresql", "p3"),
    ),
    Mutation(
        "P3 (SQLite)",
        "the same id with another spec is the same request",
        (Change(ACQUIRE, "if stored_digest not in (None, digest) or status", "if status"),),
        contract("sqlite", "p3"),
    ),
    Mutation(
        "P9 (PostgreSQL)",
        "a run of any age is joined",
        (
            Change(
                OFFERED,
                "WHEN run.started_at IS NULL OR seconds(m.now - run.started_at) <= o.fresh_s THEN ROW",
                "WHEN true THEN ROW",
            ),
        ),
        contract("postgresql", "p9"),
    ),
    Mutation(
        "P6",
        "offers are stored however many wait",
        (Change("backend/lock/server.py", "is_full = waiting_count >= self._max_waiting", "is_full = False"),),
        ("tests/backend/lock/test_lock_server.py",),
    ),
    Mutation(
        "P19 (PostgreSQL)",
        "one bad row fails its whole batch",
        (
            Change(
                ENGINE,
                "        except DATA_ERRORS:\n            return await self._open(self._decisions).run(",
                "        except ZeroDivisionError:\n            return await self._open(self._decisions).run(",
            ),
        ),
        (SHARED, "-k", "p19"),
    ),
)

REQUESTS_AND_RESULTS = (
    Mutation(
        "P2 (SQLite)",
        "an attach of an older connection moves the request",
        (
            Change(
                SQLITE,
                "WHERE client = :client AND request = :request AND epoch <= :epoch;",
                "WHERE client = :client AND request = :request;",
            ),
        ),
        contract("sqlite", "p2"),
    ),
    Mutation(
        "P2 (PostgreSQL)",
        "an attach of an older connection moves the request",
        (
            Change(
                OF_CLIENTS,
                "WHERE client = whose AND request = ANY (ids) AND epoch <= to_epoch",
                "WHERE client = whose AND request = ANY (ids)",
            ),
        ),
        contract("postgresql", "p2"),
    ),
    Mutation(
        "P2, P26 (PostgreSQL)",
        "a detach of an older connection takes the newer one away",
        (Change(OF_CLIENTS, "AND gateway = q.gateway AND epoch <= q.epoch AND", "AND gateway = q.gateway AND"),),
        contract("postgresql", "p26"),
    ),
    Mutation(
        "P11 (PostgreSQL)",
        "a job's row is not locked before its state is looked at",
        (Change(LOCKS, "ORDER BY id FOR UPDATE) AS held", "ORDER BY id) AS held"),),
        (SHARED, "-k", "p11 or p14"),
    ),
    Mutation(
        "P12",
        "the mailbox is read before the client is present",
        (
            Change(
                REQUESTS,
                "        for request in new:\n            self._live(connection, request, stream=True, counts=False)\n",
                "",
            ),
            Change(
                REQUESTS,
                "        for status in statuses:\n"
                "            live = self.live.find(connection.client, status.request)\n"
                "            if live is not None and live.peer == connection.peer:",
                "        for status in statuses:\n"
                "            live = self._live(connection, status.request, stream=True, counts=False)\n"
                "            if live is not None and live.peer == connection.peer:",
            ),
        ),
        ("tests/system/test_faults.py", "-k", "overtakes"),
    ),
    Mutation(
        "P12 (SQLite)",
        "a request without an offer is told so at every sweep",
        (Change(SQLITE, "SET unknown_at = :now + (:now - created_at)", "SET unknown_at = :now"),),
        contract("sqlite", "p12"),
    ),
    Mutation(
        "P26 (SQLite)",
        "an acknowledged request stays detached",
        (Change(SQLITE, "SET state = :state, detached_at = NULL, grace_ended = 0 WHERE", "SET state = :state WHERE"),),
        EVERY_STATE,
    ),
    Mutation(
        "P14 (PostgreSQL)",
        "a batch completes a waiting job before it grants it",
        (Change(DECIDED, "(state = 'waiting' OR m.may_reap AND lease_until", "(m.may_reap AND lease_until"),),
        EVERY_STATE,
    ),
    Mutation(
        "I3",
        "a knock delivers whatever was sent already",
        (
            Change(
                REQUESTS,
                "if live is None or not live.is_open:\n                continue\n            if finished",
                "if live is None:\n                continue\n            if finished",
            ),
            Change(
                REQUESTS,
                "        if not live.is_open:\n            return\n        live.stage = Stage.DELIVERING",
                "        live.stage = Stage.DELIVERING",
            ),
        ),
        ("tests/system/test_jobs.py", "-k", "i3"),
    ),
    Mutation(
        "P26 (SQLite)",
        "a gateway is told of clients that are away",
        (
            Change(
                SQLITE,
                "AND r.state <> 'acked' AND r.detached_at IS NULL\n  AND (r.state IN ('left'",
                "AND r.state <> 'acked'\n  AND (r.state IN ('left'",
            ),
        ),
        contract("sqlite", "p26"),
    ),
    Mutation(
        "P28 (PostgreSQL)",
        "the retention deletes jobs without their locks",
        (
            Change(
                TICK,
                "WHERE keep_until <= m.now ORDER BY keep_until LIMIT many FOR UPDATE SKIP LOCKED);",
                "WHERE keep_until <= m.now ORDER BY keep_until LIMIT many);",
            ),
        ),
        (SHARED, "-k", "p28"),
    ),
    Mutation(
        "P28 (PostgreSQL)",
        "to read a result does not keep it",
        (Change(TIME, "AND token = under AND keep_until < keep;", "AND false;"),),
        contract("postgresql", "p28"),
    ),
    Mutation(
        "P22",
        "a task is acknowledged before its result is safe with the broker",
        (
            Change(
                WORKER,
                "        result = None if self._is_cancelled(task) else await self._run(task)\n",
                "        result = None if self._is_cancelled(task) else await self._run(task)\n"
                "        delivery.acknowledge()\n",
            ),
        ),
        WORKER_TESTS,
    ),
    Mutation(
        "P21",
        "a task that no worker survived is given out for ever",
        (
            Change(
                RUN, "if work.state is TaskState.OUT and not work.must_run_alone:", "if work.state is TaskState.OUT:"
            ),
        ),
        ("tests/backend/master/test_master_run.py",),
    ),
    Mutation(
        "P21",
        "a worker whose event loop stands still lives on",
        (Change(WATCHDOG, "if is_still and self._ends:", "if False:"),),
        WATCHDOG_TESTS,
    ),
    Mutation(
        "P18",
        "a lock client asks one server only",
        (
            Change(
                "backend/lock/client.py",
                "for attempt in range(len(addresses)):",
                "for attempt in range(len(addresses[:1])):",
            ),
        ),
        ("tests/backend/lock/test_lock_server.py",),
    ),
    Mutation(
        "I2",
        "a session's signature is not compared",
        (Change("wire/tokens.py", "not hmac.compare_digest(_text(_mac(key, signed)), mac)", "not mac"),),
        ("tests/wire/test_tokens.py",),
    ),
)
