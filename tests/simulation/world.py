"""One run: a deployment, its clients, forty seconds of faults, and what must hold when all is well again."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from random import Random
from unittest import mock

from bench.support.steps_kind import Steps
from roost.backend.cache.memory_cache import MemoryCache
from roost.backend.client_protocol.application import ClientProtocol
from roost.backend.client_protocol.settings import ClientProtocolSettings
from roost.backend.kinds.api import RunnerTools
from roost.backend.kinds.registry import Kinds
from roost.backend.master.master import Master, MasterSettings
from roost.backend.result_cache import KEEP_S
from roost.backend.store.port import StoreLimits
from roost.backend.worker.worker import Worker, WorkerSettings
from roost.client.effects import Answer
from roost.wire.failpoints import Point
from roost.wire.messages.outcome import Outcome
from roost.wire.tokens import Keyring
from tests.simulation.doors import Door
from tests.simulation.loop import VirtualClock, VirtualLoop
from tests.simulation.network import Locks, SimulatedLockClient, Weather
from tests.simulation.nodes import Node, NodeConnection, OwnBroker, current, make_task
from tests.simulation.outages import GUESTS_GATEWAY, LOCK_SERVERS, Endless, StoreClock, StoreTrouble, UnreliableStore
from tests.simulation.people import Person, Wish

BAD_S = 40.0
"""How long things go wrong."""
BAD_AGAIN_S = 15.0
"""As long again once the store's own faults are over."""
PATIENCE_S = 900.0
"""So long after the last fault every wish has its outcome, or the run has failed."""
PEOPLE, WISHES = 5, 3
GRACE_S = 60.0
SOON_S = 30.0
"""After the last fault lock servers start again, messages come late, leases of dead masters end."""
LONG_S = 10 * 24 * 3600.0
"""No clock that leaps makes a job run out of time, or its outcome of retention: these are in the store's time (P15)."""


class World:
    """Everything in one seed."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.chance = Random(seed)
        self.clock = VirtualClock(loop)
        lost, doubled, late = (self.chance.choice([0.0, 0.01, 0.05, 0.2]) for _ in range(3))
        self.weather = Weather(self.chance, lost_share=lost, doubled_share=doubled, late_share=late)
        self.broker = OwnBroker(self.clock)
        self.cache = MemoryCache(clock=self.clock)
        self.keys = Keyring({"sim": b"0123456789abcdef0123456789abcdef"})
        store_clock = StoreClock(loop)
        limits = StoreLimits(retention_s=LONG_S, expect_s=5.0, grace_s=GRACE_S)
        self.store = UnreliableStore(limits, store_clock)
        self.trouble = StoreTrouble(seed, self.store, store_clock, self._note)
        self.locks = Locks(self.store, self.clock)
        self.kinds = Kinds(self._kinds())
        self.doors: dict[str, Door] = {}
        self.guests_doors: dict[str, Door] = {}
        self.every_door: list[Door] = []
        self.nodes: dict[str, Node] = {}
        self.people = [self._person(number) for number in range(PEOPLE)]
        self._lives = 0
        self._loop, self._own = loop, copy_context()
        self._dies_at: set[str] = set()
        self._guest_is_gone = False
        self.happened: list[str] = []

    def _kinds(self) -> list[Steps]:
        return [Steps(), Endless()] if self.trouble.strikes else [Steps()]

    def _person(self, number: int) -> Person:
        wishes = [
            Wish(f"{number}-{turn}", self._spec(number), self.chance.choice([None] * 7 + [self.chance.uniform(0, 9)]))
            for turn in range(WISHES)
        ]
        return Person(f"person {number}", wishes, lambda: list(self.doors.values()), self.chance, self.clock.wall)

    def _spec(self, number: int) -> bytes:
        """Some share a run with others, some take an answer that was kept."""
        chance = self.chance
        spec = {
            "levels": chance.randint(1, 4),
            "width": chance.randint(1, 12),
            "bytes": chance.choice([0, number + 1, 3000]),
            "behave": chance.choice(["", "slow", "slow", "later"]),
            "fresh_s": chance.choice([0.0, 0.0, 30.0, KEEP_S]),
            "max_seconds": LONG_S,
        }
        return json.dumps(spec).encode()

    # --- processes ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """All of them."""
        await self.store.start()
        assert self.store._db is not None
        self.store._db.create_function("random", 0, lambda: self.chance.getrandbits(63) - 2**62)
        for name in LOCK_SERVERS:
            self.locks.start(name)
        for name in ("master-a", "master-b", "worker-a", "worker-b", "gateway-a", "gateway-b"):
            await self.boot(name)

    async def boot(self, name: str) -> None:
        """A new life of this process."""
        self._lives += 1
        node = self.nodes[name] = Node(f"{name}.{self._lives}")
        node.spawn(self._boot(name, node))

    async def _boot(self, name: str, node: Node) -> None:
        connection = NodeConnection(self.broker, node, self.weather.broker_trouble, self.weather.delay_s)
        await connection.start()
        locks = SimulatedLockClient(self.locks, node, self.weather)
        if name.startswith("master"):
            settings = MasterSettings(node.name, slots=4)
            await Master(settings, connection, self.cache, locks, self.kinds, self.clock).start()
        elif name.startswith("worker"):
            kinds = Kinds(self._kinds())
            tools = {kind: RunnerTools(self.cache, self.clock) for kind in kinds.names()}
            await Worker(WorkerSettings(slots=8), connection, kinds, tools).start()
        else:
            ingress = ClientProtocol(
                ClientProtocolSettings(node.name), connection, self.cache, locks, self.kinds, self.keys, self.clock
            )
            await ingress.requests.start()
            door = Door(node, ingress, self.weather)
            self.every_door.append(door)
            (self.guests_doors if name == GUESTS_GATEWAY else self.doors)[name] = door

    def kill(self, name: str) -> None:
        """kill -9."""
        self.doors.pop(name, None)
        self.guests_doors.pop(name, None)
        self.nodes[name].kill()

    # --- bad luck -------------------------------------------------------------------------------------

    async def go_wrong(self) -> None:
        """Faults, one after the other; at the end everybody is up and the weather is fine."""
        faults: list[Callable[[], None]] = [
            self._kill_one, self._kill_one, self._kill_lock, self._cut_off, self._cut_line, self._cut_line,
            self._broker_away, self._forget, self._stand_still, self._die_at, self._die_at,
        ]  # fmt: skip
        if not self.trouble.strikes:
            await self._strike(faults, BAD_S)
        else:
            await asyncio.gather(self._strike(faults, BAD_S), self.trouble.go_wrong(), self._lose_guest())
            await self._strike(faults, BAD_AGAIN_S)
        self.weather.is_bad = False
        self._dies_at.clear()

    async def _strike(self, faults: list[Callable[[], None]], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            await asyncio.sleep(self.chance.expovariate(1 / 1.5))
            self.chance.choice(faults)()

    async def _lose_guest(self) -> None:
        """Somebody asks for a job without an end at a gateway that nobody else uses, and both are gone for good."""
        chance = self.trouble.chance
        wish = Wish("guest", json.dumps({"max_seconds": LONG_S}).encode())
        guest = Person("guest", [wish], lambda: list(self.guests_doors.values()), chance, self.clock.wall, "endless")
        await self.boot(GUESTS_GATEWAY)
        living = asyncio.create_task(guest.live())
        await asyncio.sleep(chance.uniform(5.0, 60.0))
        living.cancel()
        self._note(f"{GUESTS_GATEWAY} and its client are gone for good; told so far: {wish.ends}")
        assert not wish.ends, f"the guest was told {wish.ends}"
        self.kill(GUESTS_GATEWAY)
        del self.nodes[GUESTS_GATEWAY]
        self._guest_is_gone = True

    def _note(self, what: str) -> None:
        self.happened.append(f"{asyncio.get_running_loop().time() - 1000:8.3f} {what}")

    def _kill_one(self) -> None:
        name = self.chance.choice(list(self.nodes))
        if self.nodes[name].is_dead:
            return
        self._note(f"kill {self.nodes[name].name}")
        self.kill(name)
        asyncio.get_running_loop().call_later(self.chance.uniform(0.1, 12.0), self._boot_later, name)

    def _boot_later(self, name: str) -> None:
        if name == GUESTS_GATEWAY and self._guest_is_gone:
            return
        self._booting = asyncio.get_running_loop().create_task(self.boot(name))

    def _kill_lock(self) -> None:
        name = self.chance.choice(list(self.locks.servers))
        node, _ = self.locks.servers[name]
        if not node.is_dead:
            self._note(f"kill {name}")
            node.kill()
            asyncio.get_running_loop().call_later(self.chance.uniform(0.1, 8.0), self.locks.start, name)

    def _stand_still(self) -> None:
        """SIGSTOP, and SIGCONT after some seconds."""
        name = self.chance.choice([name for name in self.nodes if not name.startswith("gateway")])
        seconds = self.chance.uniform(1.0, 20.0)
        self._note(f"{self.nodes[name].name} stands still for {seconds:.1f} s")
        self._loop.pause(self.nodes[name].pause, seconds)

    def _die_at(self) -> None:
        """The next process to come to one of the named points dies there."""
        point = self.chance.choice(list(Point))
        self._note(f"whoever reaches {point} next is to die there")
        self._dies_at.add(point)

    def reached(self, _: object, point: Point) -> bool:
        """In the place of what would stop a real process at a failpoint."""
        node = current()
        if point not in self._dies_at or node is None or node.is_dead:
            return False
        self._dies_at.discard(point)
        self._note(f"{node.name} dies at {point}")
        for name, alive in self.nodes.items():
            if alive is node:
                self.kill(name)
                self._loop.call_later(self.chance.uniform(0.1, 12.0), self._boot_later, name, context=self._own)
        for name, (alive, _server) in self.locks.servers.items():
            if alive is node:
                node.kill()
                self._loop.call_later(self.chance.uniform(0.1, 8.0), self.locks.start, name, context=self._own)
        return False

    def _cut_off(self) -> None:
        node = self.nodes[self.chance.choice(list(self.nodes))]
        seconds = self.chance.uniform(1.0, 12.0)
        self._note(f"{node.name} is cut off from lock servers for {seconds:.1f} s")
        self.weather.cut_off[node.name] = asyncio.get_running_loop().time() + seconds

    def _cut_line(self) -> None:
        person = self.chance.choice(self.people)
        self._note(f"{person.name} loses its connection")
        person.lose_line(self.chance.choice([0.0, self.chance.uniform(0, 35.0)]))

    def _broker_away(self) -> None:
        seconds = self.chance.uniform(0.2, 5.0)
        self._note(f"the broker takes nothing for {seconds:.1f} s")
        self.weather.broker_bad_until = asyncio.get_running_loop().time() + seconds

    def _forget(self) -> None:
        """The cache is flushed (I5)."""
        self._note("the cache forgets")
        self.cache._kept.__init__(64 * 1024 * 1024, 8 * 1024 * 1024)  # type: ignore[misc]

    # --- what must hold ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole story. Raises AssertionError."""
        await self.start()
        lives = [asyncio.create_task(person.live()) for person in self.people]
        await self.go_wrong()
        well_since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*lives)
        except TimeoutError:
            waiting = [wish.id for person in self.people for wish in person.wishes if not wish.ends]
            raise AssertionError(f"I1: no outcome for {waiting} after {PATIENCE_S:g} s") from None
        if self.trouble.strikes:
            await asyncio.sleep(max(0.0, well_since + GRACE_S + SOON_S - asyncio.get_running_loop().time()))
        self._check_answers()
        self._check_lines()
        self._check_store()

    def _check_answers(self) -> None:
        for person in self.people:
            for wish in person.wishes:
                assert len(wish.ends) == 1, f"I3: {wish.id} ended {len(wish.ends)} times"
                (answer,) = wish.ends
                assert isinstance(answer, Answer), f"{wish.id}: {answer!r}"
                if answer.outcome is Outcome.CANCELLED:
                    assert wish.cancel_after_s is not None, f"{wish.id} was cancelled by nobody"
                    continue
                assert answer.outcome is Outcome.DONE, f"{wish.id}: {answer}"
                spec = json.loads(wish.spec)
                expected = [
                    [f"{level * spec['width'] + place}{'x' * spec['bytes']}" for place in range(spec["width"])]
                    for level in range(spec["levels"])
                ]
                assert [json.loads(part) for part in answer.parts] == expected, f"I2: {wish.id} got another's result"

    def _check_lines(self) -> None:
        for door in self.every_door:
            for line in door.log:
                assert all(count == 1 for count in line.results.values()), f"I3: sent twice: {line.results}"

    def _check_store(self) -> None:
        db = self.store._db
        assert db is not None
        open_jobs = db.execute("SELECT id, state, attempt FROM jobs WHERE state IN ('waiting', 'running')").fetchall()
        assert not open_jobs, f"jobs that nobody waits for go on: {open_jobs}"


class _Loud(logging.Handler):
    """An error in the log is a failed run, but for what the faults themselves explain."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def run(seed: int) -> World:
    """One seed. Raises AssertionError with the seed and what happened in it."""
    loop = VirtualLoop()
    loop.set_task_factory(make_task)
    random.seed(seed)
    world = World(seed, loop)
    loud = _Loud()
    logging.getLogger("backend").addHandler(loud)
    try:
        with (
            mock.patch("secrets.token_bytes", lambda size=32: world.chance.randbytes(size)),
            mock.patch("roost.wire.failpoints._folder", Path()),
            mock.patch("roost.wire.failpoints._take", world.reached),
        ):
            loop.run_until_complete(world.run())
        errors = [record.getMessage() for record in loud.records]
        assert not errors, f"errors in the log: {errors}"
    except AssertionError as problem:
        raise AssertionError("\n".join([f"seed {seed}: {problem}", *world.happened])) from problem
    finally:
        logging.getLogger("backend").removeHandler(loud)
        loop.run_until_complete(_end(world))
        loop.close()
    return world


async def _end(world: World) -> None:
    """Take everything down."""
    for node in [*world.nodes.values(), *(node for node, _ in world.locks.servers.values())]:
        node.kill()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await world.store.stop()
