"""The one table of queues: whoever declares a queue takes its spec from here.

`docs/protocol/guarantees.md` defines the rules that are cited by number.

Declare `JOBS_DEAD` before `job_offers` and `TASKS_DEAD` before `tasks`, whose dead letters they take.
"""

from __future__ import annotations

from roost.backend.broker.port import QueueSpec

CONTROL = "control"
"""Fanout: cancel a job's tasks now."""

WAITING_OFFERS_MAX = 10_000
"""Offers that wait at the door to the store. They are stored as soon as a lock server answers, so a full queue means
that none does, or not fast enough: then clients are better told `overloaded` than kept waiting (P6)."""

DELIVERY_LIMIT = 2
"""Three deliveries: a task that took three workers with it is suspected itself (P21)."""

OWNER_AWAY_S = 60.0
"""How long the mail of a gateway or master waits for its owner: longer than a blip, shorter than a restart matters."""

TASK_TTL_S = 24 * 3600.0
"""Longer than a job may run, so that a task this old belongs to nobody; without it, tasks of a kind that has no
workers any more would stay for ever."""

JOBS_DEAD = QueueSpec("jobs.dead")
"""Offers that nobody stored in time. Never lost: each becomes an outcome (P7)."""

TASKS_DEAD = QueueSpec("tasks.dead", ttl_s=TASK_TTL_S)
"""Tasks that no worker survived, on their way to the master that they belong to (P21)."""


def job_offers(retention_s: float) -> QueueSpec:
    """The durable door to the store. The same retention everywhere: a queue has one spec."""
    return QueueSpec("jobs.assigned", max_length=WAITING_OFFERS_MAX, ttl_s=retention_s, dead_letters=JOBS_DEAD.name)


def tasks(kind: str) -> QueueSpec:
    """Tasks of one kind of job, shared by all workers that do this kind."""
    return QueueSpec(f"tasks.{kind}", delivery_limit=DELIVERY_LIMIT, ttl_s=TASK_TTL_S, dead_letters=TASKS_DEAD.name)


def task_results(master: str) -> QueueSpec:
    """Task results for one master incarnation."""
    return QueueSpec(f"reply.{master}", expires_s=OWNER_AWAY_S)


def gateway_events(gateway: str) -> QueueSpec:
    """Mail for one gateway incarnation."""
    return QueueSpec(f"done.{gateway}", expires_s=OWNER_AWAY_S)
