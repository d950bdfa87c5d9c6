"""Cells of the matrix that every test run tries; ``make faults`` tries all of them."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.matrix import pick
from tests.faults.run import Runner, Verdict

pytestmark = [pytest.mark.engines, pytest.mark.slow]

SOME = (
    "submit.published/gateway.kill",
    "acquire.committed/lock.kill",
    "result.folded/master.kill",
    "result.published/worker.kill",
    "complete.committed/master.kill",
    "delivery.part/gateway.kill",
    "ack.received/lock.kill",
    "cancel.heard/master.kill",
)
LANES = 3


@pytest.mark.timeout(240)
async def test_i1_to_i4_accepted_is_delivered_once_to_its_owner_whoever_is_killed_in_the_middle_of_a_step() -> None:
    cells = [cell for name in SOME for cell in pick(name)]
    assert len(cells) == len(SOME)
    verdicts: list[Verdict] = []
    async with asyncio.timeout(200):
        await Runner(cells, LANES, verdicts.append).run()
    assert [f"{verdict.cell}: {verdict.told}" for verdict in verdicts if verdict.problem] == []
    assert {str(verdict.cell) for verdict in verdicts} == set(SOME)
