"""Who is taken for gone when it was the store that was away."""

from __future__ import annotations

from tests.mutations.mutation import Change, Mutation
from tests.mutations.places import CLOCK, EMBEDDED, ENGINE, LEDGER, PAGE, PORT, SWEEPING, contract

OF_GRACE, OF_OUTAGES = "p26 and (outage or died)", "p15 and (outage or leaps or lock_server)"
SEED = ("tests/simulation/test_seeds.py", "-k", "53")
SHARED_SEARCH = ("tests/backend/store/test_postgres_outages.py", "-k", "p26")

OUTAGES = (
    Mutation(
        "P15 (SQLite)",
        "after an outage gateways have 6 s to report, as masters do",
        (Change(PAGE, "self.may_leave = now >= went_on_at + limits.grace_after", "self.may_leave = self.may_reap #"),),
        contract("sqlite", OF_OUTAGES),
    ),
    Mutation(
        "P15",
        "in the simulation, after an outage gateways have 6 s to report, as masters do",
        (Change(PAGE, "self.may_leave = now >= went_on_at + limits.grace_after", "self.may_leave = self.may_reap #"),),
        SEED,
    ),
    Mutation(
        "P15 (PostgreSQL)",
        "after an outage gateways have 6 s to report, as masters do",
        (Change(CLOCK, "m.no_reap_before - l.lease + l.grace_after_outage", "m.no_reap_before"),),
        contract("postgresql", OF_OUTAGES),
    ),
    Mutation(
        "P26 (SQLite)",
        "an outage uses up the grace of who was away",
        (Change(PORT, "return max(self.grace_s, TWO_SWEEPS_S)", "return TWO_SWEEPS_S"),),
        contract("sqlite", OF_GRACE),
    ),
    Mutation(
        "P26 (PostgreSQL)",
        "an outage uses up the grace of who was away",
        (Change(PORT, "return max(self.grace_s, TWO_SWEEPS_S)", "return TWO_SWEEPS_S"),),
        contract("postgresql", OF_GRACE),
    ),
    Mutation(
        "P26 (SQLite)",
        "a short grace leaves gateways no two chances after an outage",
        (Change(PORT, "return max(self.grace_s, TWO_SWEEPS_S)", "return self.grace_s"),),
        contract("sqlite", OF_GRACE),
    ),
    Mutation(
        "P26 (PostgreSQL)",
        "a short grace leaves gateways no two chances after an outage",
        (Change(PORT, "return max(self.grace_s, TWO_SWEEPS_S)", "return self.grace_s"),),
        contract("postgresql", OF_GRACE),
    ),
    Mutation(
        "P15 (SQLite)",
        "a clock that is set back hides an outage",
        (Change(PAGE, "abs(seen - ticked_at) > TICK_GAP_S", "seen - ticked_at > TICK_GAP_S"),),
        contract("sqlite", OF_OUTAGES),
    ),
    Mutation(
        "P15 (PostgreSQL)",
        "a clock that is set back hides an outage",
        (
            Change(
                CLOCK,
                "seen BETWEEN c.ticked_at - l.tick_gap AND c.ticked_at + l.tick_gap",
                "seen <= c.ticked_at + l.tick_gap",
            ),
        ),
        contract("postgresql", OF_OUTAGES),
    ),
    Mutation(
        "P26 (SQLite)",
        "a search that fails undoes the sign of life",
        (
            Change(
                EMBEDDED,
                "        await self._transaction(lambda transaction: transaction.see_gateway(poll.gateway))\n",
                "",
            ),
            Change(
                LEDGER,
                "        finished: dict[tuple[int, RequestRow], JobFinished] = {}\n",
                "        self.see_gateway(poll.gateway)\n"
                "        finished: dict[tuple[int, RequestRow], JobFinished] = {}\n",
            ),
        ),
        ("tests/backend/store/test_store.py", "-k", "sweep_that_fails"),
    ),
    Mutation(
        "P26 (PostgreSQL)",
        "a search that takes too long undoes the sign of life",
        (
            Change(
                ENGINE,
                'await self._call(self._open(self._gateways), "see_gateway", poll.gateway, self._limits_row)',
                "pass",
            ),
        ),
        SHARED_SEARCH,
    ),
    Mutation(
        "P26 (PostgreSQL)",
        "a sign of life waits for the searches of others",
        (Change(ENGINE, 'self._open(self._gateways), "see_gateway"', 'self._open(self._polls), "see_gateway"'),),
        SHARED_SEARCH,
    ),
    Mutation(
        "P26",
        "a gateway whose sweep was not answered waits for its next regular one",
        (Change(SWEEPING, "return min(AGAIN_S, every_s) *", "return every_s *"),),
        ("tests/backend/store/test_sweeping.py",),
    ),
)
