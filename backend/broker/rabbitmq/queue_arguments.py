"""Translates a `QueueSpec` into queue arguments of RabbitMQ. Pure.

The arguments are the same for 3.10 to 4.x, so that no declaration is refused after an upgrade. A queue that must
survive the loss of a node is a quorum queue. On a single node, a queue that expires with its owner is a classic queue:
it is durable too, costs less, and there is no other node for a replica. In a cluster it is a quorum queue as well,
because a classic queue lives on one node, and while that node is down it can neither be used nor be declared
elsewhere. Only quorum queues count deliveries, so a queue with a delivery limit is always a quorum queue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from roost.backend.broker.port import QueueSpec
from roost.wire.errors import Misuse

NAME_BYTES = 255
"""AMQP 0-9-1, section 4.2.5.3: a name is a short string."""
NO_DELIVERY_LIMIT = 1_000_000_000
"""Effectively no limit. Without a limit 4.x uses 20, and -1, its value for none, makes 3.10 drop messages."""

Arguments = dict[str, str | int]


def arguments(spec: QueueSpec, in_cluster: bool = False) -> Arguments:
    """Return the arguments of ``queue.declare``. Raises Misuse for a name that is too long."""
    check_name(spec.name)
    is_quorum = _is_quorum(spec, in_cluster)
    declared: Arguments = {"x-queue-type": "quorum" if is_quorum else "classic"}
    if is_quorum:
        limit = spec.delivery_limit
        # The limit counts returns: a limit of 2 means three deliveries, on every version.
        declared["x-delivery-limit"] = NO_DELIVERY_LIMIT if limit is None else limit
    if spec.ttl_s is not None and spec.ttl_s < math.inf:
        declared["x-message-ttl"] = _milliseconds(spec.ttl_s)
    if spec.expires_s is not None and spec.expires_s < math.inf:
        declared["x-expires"] = _milliseconds(spec.expires_s)
    if spec.max_length is not None:
        declared |= {"x-max-length": spec.max_length, "x-overflow": "reject-publish"}
    if spec.dead_letters is not None:
        declared |= _dead_letters(spec.dead_letters, is_quorum)
    return declared


def _is_quorum(spec: QueueSpec, in_cluster: bool) -> bool:
    return spec.delivery_limit is not None or (spec.durable and (in_cluster or spec.expires_s is None))


def check_name(name: str) -> None:
    """Raise Misuse for a name that is too long for a queue."""
    if len(name.encode()) > NAME_BYTES:
        raise Misuse(f"a queue's name has at most {NAME_BYTES} bytes: {name[:40]}…")


def death_queue(headers: Mapping[str, object]) -> str | None:
    """Return the queue in which a dead letter died last, from its headers; None for other messages."""
    deaths = headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        return str(deaths[0].get("queue", ""))
    return None


def _dead_letters(target: str, is_quorum: bool) -> Arguments:
    declared: Arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target}
    if is_quorum:
        # Dead letters stay in the source until the target has confirmed them. This strategy requires reject-publish.
        declared |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    return declared


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
