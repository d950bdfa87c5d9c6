"""The table of all queues. Every service that declares a queue takes its specification from here.

`docs/protocol/guarantees.md` defines the rules that are cited by number.

A dead-letter queue must be declared before the queue that sends it dead letters: `JOBS_DEAD` before `job_offers`, and
`TASKS_DEAD` before `tasks`.
"""

from __future__ import annotations

from roost.backend.broker.port import QueueSpec

CONTROL = "control"
"""Fanout of control messages: cancel a job's tasks; a job has changed."""

WAITING_OFFERS_MAX = 10_000
"""Most offers that wait to be stored. They are stored as soon as a lock server answers, so a full queue means that none
answers, or not fast enough. Then it is better to answer clients `overloaded` than to let them wait (P6)."""

DELIVERY_LIMIT = 2
"""Three deliveries: when three workers have died with a task, the task itself is suspected (P21)."""

OWNER_AWAY_S = 60.0
"""How long the queue of a gateway or master outlives its consumer: longer than a short network failure."""

TASK_TTL_S = 24 * 3600.0
"""Longer than a job may run, so that a task of this age belongs to no running job. Without this limit, tasks of a kind
that has no workers any more would stay for ever."""

JOBS_DEAD = QueueSpec("jobs.dead")
"""Offers that were not stored in time. None is lost: each becomes an expired job, and so has an outcome (P7)."""

TASKS_DEAD = QueueSpec("tasks.dead", ttl_s=TASK_TTL_S)
"""Tasks that no worker survived; any master reports them to the master that they belong to (P21)."""


def job_offers(retention_s: float) -> QueueSpec:
    """The durable queue of offers from gateways to masters.

    All processes must use the same retention, because a queue has one specification.
    """
    return QueueSpec("jobs.assigned", max_length=WAITING_OFFERS_MAX, ttl_s=retention_s, dead_letters=JOBS_DEAD.name)


def tasks(kind: str) -> QueueSpec:
    """The queue of the tasks of one kind, shared by all workers that run this kind."""
    return QueueSpec(f"tasks.{kind}", delivery_limit=DELIVERY_LIMIT, ttl_s=TASK_TTL_S, dead_letters=TASKS_DEAD.name)


def task_results(master: str) -> QueueSpec:
    """The queue of task results for one incarnation of a master."""
    return QueueSpec(f"reply.{master}", expires_s=OWNER_AWAY_S)


def gateway_events(gateway: str) -> QueueSpec:
    """The queue of events for one incarnation of a gateway."""
    return QueueSpec(f"done.{gateway}", expires_s=OWNER_AWAY_S)
