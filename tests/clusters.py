"""Private clusters of the real engines, for tests; they are made of what `bench.support.services` has."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from redis import Redis as Client

from bench.support.ports import elsewhere_if_taken
from bench.support.services import LOOPBACK, RABBITMQ_BIN, RabbitMq, Redis, Service, need, say

SENTINELS = 3
SERVICE = "roost"


class RabbitCluster:
    """Three nodes that find each other when they start; one may die, and most are left."""

    def __init__(self) -> None:
        first = RabbitMq()
        self.nodes = [first, *(RabbitMq(first.epmd_port) for _ in range(2))]
        names = "".join(
            f"cluster_formation.classic_config.nodes.{number} = {node.node}\n"
            for number, node in enumerate(self.nodes, 1)
        )
        for node in self.nodes:
            with (node.folder / "rabbitmq.conf").open("a") as settings:
                settings.write(f"cluster_formation.peer_discovery_backend = classic_config\n{names}")
            cookie = node.folder / ".erlang.cookie"
            cookie.write_text("ONLY-FOR-TESTS")
            cookie.chmod(0o400)
        self.start()

    def start(self) -> None:
        """All nodes run, also those that were killed; at the same time, for they may wait for each other."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(RabbitMq.start, [node for node in self.nodes if not node.is_running()]))

    def kill(self) -> None:
        """No node runs."""
        for node in self.nodes:
            if node.is_running():
                node.kill()

    def url(self, *more: str) -> str:
        """All nodes, and `more` addresses before them."""
        hosts = [*more, *(f"{LOOPBACK}:{node.port}" for node in self.nodes)]
        return f"amqp://guest:guest@{','.join(hosts)}/"


class Replica(Redis):
    """A server that follows another until the sentinels say otherwise."""

    def __init__(self, master: Redis) -> None:
        super().__init__()
        self._master = master

    def command(self) -> list[str]:
        return [*super().command(), "--replicaof", f"{LOOPBACK} {self._master.port}"]


class Sentinel(Service):
    """Watches a master, and with most of the others decides who follows it."""

    def __init__(self, master: Redis) -> None:
        super().__init__("sentinel")
        self._settings = self.folder / "sentinel.conf"
        self._settings.write_text(
            f"port {self.port}\nbind {LOOPBACK}\ndir {self.folder}\n"
            f"sentinel monitor {SERVICE} {LOOPBACK} {master.port} {SENTINELS // 2 + 1}\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 2000\n"
        )

    def command(self) -> list[str]:
        return ["redis-server", str(self._settings), "--sentinel"]

    def answers(self) -> bool:
        return say(self.port, b"PING\r\n") == b"+PONG\r\n"

    def is_ready(self) -> bool:
        """Whether it knows the replica and all the other sentinels, as it must before a failover."""
        with Client(port=self.port) as client:
            state = client.sentinel_master(SERVICE)
        return bool(state["num-slaves"] == 1 and state["num-other-sentinels"] == SENTINELS - 1)

    def master_port(self) -> int:
        """Where it says that the master is."""
        with Client(port=self.port) as client:
            return int(client.sentinel_get_master_addr_by_name(SERVICE)[1])


class WatchedRedis:
    """A master, its replica, and the sentinels."""

    def __init__(self) -> None:
        self.master = Redis()
        self.master.start()
        self.replica = Replica(self.master)
        self.replica.start()
        self.sentinels = [Sentinel(self.master) for _ in range(SENTINELS)]
        for sentinel in self.sentinels:
            sentinel.start()

    def url(self, *more: str) -> str:
        """All sentinels, and `more` addresses before them."""
        hosts = [*more, *(f"{LOOPBACK}:{sentinel.port}" for sentinel in self.sentinels)]
        return f"redis+sentinel://{','.join(hosts)}/{SERVICE}/0"

    def kill(self) -> None:
        """All of them."""
        for server in (self.master, self.replica, *self.sentinels):
            if server.is_running():
                server.kill()


@cache
def rabbit_cluster() -> RabbitCluster:
    """The run's cluster of RabbitMQ."""
    need((RABBITMQ_BIN / "rabbitmq-server").exists(), "rabbitmq-server")
    return elsewhere_if_taken(RabbitCluster)


def watched_redis() -> WatchedRedis:
    """A new one: a test that kills the master leaves nothing that another could use."""
    need(shutil.which("redis-server") is not None, "redis-server")
    return elsewhere_if_taken(WatchedRedis)
