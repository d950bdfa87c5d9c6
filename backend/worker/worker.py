"""A worker: takes tasks, runs them, and sends results to their masters. It keeps no state between tasks.

At most `slots` tasks run at a time. A result is published and confirmed before its task is acknowledged (P22), so that
the death of a worker at any moment only costs a repetition. Tasks of a cancelled job are dropped by job and token, both
those that are running and those that arrive later (P14). A task that no worker has survived comes back once to be run
alone. While it runs, no other task does, so that neither can end the other's worker (P21).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass

from roost.backend.broker import topology
from roost.backend.broker.port import BROKER, Broker, Delivery, Subscription
from roost.backend.kinds.api import RetryLater, Runner, RunnerTools
from roost.backend.kinds.registry import Kinds
from roost.backend.worker.active_timeout import active_timeout
from roost.backend.worker.current_task import in_its_name
from roost.backend.worker.shared_exclusive_lock import SharedExclusiveLock
from roost.wire.clock import Clock
from roost.wire.codec import pack
from roost.wire.errors import DecodeError, Misuse, Unavailable
from roost.wire.failpoints import Point, reach
from roost.wire.messages.work import CancelTasks, Task, TaskResult, read_control, read_task
from roost.wire.service import FunctionService, Service

log = logging.getLogger(__name__)

CANCELLED_KEPT = 10_000
"""How many cancelled jobs are remembered, so that their tasks that are still in the queue are dropped too."""
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """`slots`: tasks at a time. Tasks mostly wait for other machines, so one core can run many."""

    slots: int = 64

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise Misuse("a worker needs at least one slot")


class Worker:
    """A `Service` that runs tasks. `tools` are passed to the runner of each kind.

    `watchdog` is started after the runners and stopped before them, because they may take long to start and to stop.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        broker: Broker,
        kinds: Kinds,
        tools: dict[str, RunnerTools],
        watchdog: Service | None = None,
    ) -> None:
        self._settings, self._broker, self._kinds = settings, broker, kinds
        self._clock: Clock = next(iter(tools.values())).clock
        self._runners: dict[str, Runner] = {name: kinds.find(name).runner(tools[name]) for name in kinds.names()}
        self._running: dict[asyncio.Task[TaskResult | None], Task] = {}
        self._cancelled: OrderedDict[int, int] = OrderedDict()
        self._subscriptions: list[Subscription] = []
        self._lock = SharedExclusiveLock(self._on_exclusive)
        self._watchdog = watchdog or FunctionService()
        self._is_leaving = False
        self._unreached: set[str] = set()
        self._in_hand = 0
        self._empty = asyncio.Event()
        self.done_count = 0

    def running(self) -> int:
        """Return how many tasks are running."""
        return len(self._running)

    def tasks(self) -> list[Task]:
        """Return the running tasks. Thread-safe."""
        return list(self._running.values())

    @property
    def slots(self) -> int:
        """Most tasks at a time."""
        return self._settings.slots

    async def start(self) -> None:
        await self._broker.declare(topology.TASKS_DEAD)
        await self._broker.listen(topology.CONTROL, self._on_control)
        for runner in self._runners.values():
            await runner.start()
        await self._watchdog.start()
        for name in self._runners:
            await self._broker.declare(topology.tasks(name))
            queue = topology.tasks(name).name
            self._subscriptions.append(await self._broker.consume(queue, self._on_task, self._settings.slots))

    async def drain(self) -> None:
        """Take no new tasks and wait for those in hand; the broker delivers the rest to other workers."""
        self._is_leaving = True
        for subscription in self._subscriptions:
            subscription.pause()
        while self._in_hand:
            self._empty.clear()
            await self._empty.wait()

    async def stop(self) -> None:
        subscriptions, self._subscriptions = self._subscriptions, []
        try:
            for subscription in subscriptions:
                await subscription.cancel()
            for running in list(self._running):
                running.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        finally:
            await self._watchdog.stop()
        for runner in self._runners.values():
            await runner.stop()

    def _on_exclusive(self, is_exclusive: bool) -> None:
        """Pause consuming while a task must run alone; other tasks stay in the queue meanwhile."""
        for subscription in self._subscriptions:
            if is_exclusive:
                subscription.pause()
            elif not self._is_leaving:
                subscription.resume()

    def _is_cancelled(self, task: Task) -> bool:
        return task.token <= self._cancelled.get(task.job, -1)

    def _on_control(self, body: bytes) -> None:
        try:
            message = read_control(body)
        except DecodeError as problem:
            log.error(
                "unreadable control message dropped", extra={"action": "control_unreadable", "reason": problem.message}
            )
            return
        if isinstance(message, CancelTasks):
            self._cancel(message)

    def _cancel(self, cancel: CancelTasks) -> None:
        self._cancelled[cancel.job] = max(cancel.token, self._cancelled.get(cancel.job, -1))
        self._cancelled.move_to_end(cancel.job)
        if len(self._cancelled) > CANCELLED_KEPT:
            self._cancelled.popitem(last=False)
        for running, task in list(self._running.items()):
            if self._is_cancelled(task):
                running.cancel()

    async def _on_task(self, delivery: Delivery) -> None:
        self._in_hand += 1
        try:
            await self._do(delivery)
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._empty.set()

    async def _do(self, delivery: Delivery) -> None:
        try:
            task = read_task(delivery.body)
        except DecodeError as problem:
            log.error("unreadable task dropped", extra={"action": "task_unreadable", "reason": problem.message})
            delivery.acknowledge()
            return
        reach(Point.TASK_TAKEN)
        result = None if self._is_cancelled(task) else await self._run(task)
        reach(Point.TASK_DONE)
        if result is None:
            delivery.acknowledge()
        elif await self._publish(task, result):
            reach(Point.RESULT_PUBLISHED)
            delivery.acknowledge()
            reach(Point.TASK_ACKNOWLEDGED)
            self.done_count += 1
        else:
            delivery.give_back()

    async def _run(self, task: Task) -> TaskResult | None:
        """Return the result, or None when the task was cancelled by its master."""
        running = asyncio.create_task(self._result_under_lock(task))
        self._running[running] = task
        try:
            return await running
        except asyncio.CancelledError:
            if self._is_cancelled(task):
                return None
            running.cancel()
            raise
        finally:
            self._running.pop(running, None)

    async def _result_under_lock(self, task: Task) -> TaskResult:
        async with self._lock.alone() if task.alone else self._lock.shared():
            return await self._result(task)

    async def _result(self, task: Task) -> TaskResult:
        try:
            runner = self._runners[task.kind]
            async with active_timeout(task.deadline_s + 1.0):
                data = await in_its_name(task, runner.run(task.payload, task.deadline_s))
            return TaskResult(task.job, task.token, task.task, data)
        except RetryLater as later:
            return TaskResult(task.job, task.token, task.task, later_s=later.after_s)
        except Exception as problem:
            log.exception("task failed by a bug", extra={"action": "task_bug", "job": task.job, "task": task.task})
            return TaskResult(task.job, task.token, task.task, error=f"worker error: {type(problem).__name__}")

    async def _publish(self, task: Task, result: TaskResult) -> bool:
        """Publish the result. Returns False when the queue takes no messages, for example because its master is gone.

        While the broker itself is unavailable, this waits: some connections come back before others, and a task that
        is redelivered only because its result could not be sent would count as not survived by its worker (P21).
        """
        problem: Unavailable | None = None
        while problem is None or problem.what == BROKER:
            try:
                await self._broker.publish(task.reply_to, pack(result))
            except Unavailable as again:
                problem = again
                self._log_unsent(problem, task.reply_to)
                await self._clock.sleep(RETRY_S)
            else:
                self._unreached -= {BROKER, task.reply_to}
                return True
        return False

    def _log_unsent(self, problem: Unavailable, reply_to: str) -> None:
        """Log one line per outage, however many results wait for its end."""
        unreachable = BROKER if problem.what == BROKER else reply_to
        if unreachable not in self._unreached:
            self._unreached.add(unreachable)
            log.warning("results not sent yet", extra={"action": "results_unsent", "reason": str(problem)})
