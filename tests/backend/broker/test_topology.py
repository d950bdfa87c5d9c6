"""The table of queues."""

from __future__ import annotations

from roost.backend.broker import topology
from roost.backend.broker.memory.memory_broker import MemoryBroker
from roost.backend.broker.port import QueueSpec
from tests.backend.broker.contract_broker import Inbox
from tests.clock import ManualClock

RETENTION_S = 3600.0


def all_specs() -> list[QueueSpec]:
    """In the order that the table asks for."""
    return [
        topology.JOBS_DEAD,
        topology.TASKS_DEAD,
        topology.job_offers(RETENTION_S),
        topology.tasks("crawl"),
        topology.task_results("m1"),
        topology.gateway_events("g1"),
    ]


def test_names_are_those_of_the_design() -> None:
    assert [spec.name for spec in all_specs()] == [
        "jobs.dead",
        "tasks.dead",
        "jobs.assigned",
        "tasks.crawl",
        "reply.m1",
        "done.g1",
    ]
    assert topology.CONTROL == "control"


async def test_what_nobody_owns_any_more_goes_away_and_what_matters_stays() -> None:
    clock = ManualClock()
    connection = MemoryBroker(clock).connect()
    await connection.start()
    for spec in all_specs():
        await connection.declare(spec)
        await connection.declare(spec)
        await connection.publish(spec.name, spec.name.encode())
    await clock.advance(RETENTION_S)
    names = ("jobs.dead", "tasks.dead", "jobs.assigned", "tasks.crawl")
    assert [await connection.depth(name) for name in names] == [2, 1, 0, 1], (
        "an offer too old is a dead letter, never lost (P7)"
    )
    await clock.advance(2 * topology.TASK_TTL_S)
    assert await connection.depth("tasks.dead") == 0
    assert await connection.depth("jobs.dead") == 2
    await connection.declare(topology.task_results("m1"))
    assert await connection.depth("reply.m1") == 0, "the old one went with its mail"
    await connection.stop()


async def test_a_task_is_delivered_three_times_and_then_suspected() -> None:
    connection = MemoryBroker(ManualClock()).connect()
    await connection.start()
    await connection.declare(topology.TASKS_DEAD)
    await connection.declare(topology.tasks("crawl"))
    inbox, suspects = Inbox(), Inbox()
    await connection.consume("tasks.crawl", inbox, 1)
    await connection.consume("tasks.dead", suspects, 1)
    await connection.publish("tasks.crawl", b"poison")
    for _ in range(3):
        (await inbox.next()).give_back()
    assert (await suspects.next()).died_in == "tasks.crawl"
    assert len(inbox.all) == 3
    await connection.stop()
