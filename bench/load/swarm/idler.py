"""One simulated user: asks discovery for a gateway, connects, stays idle, and now and then submits a job.

It reconnects as close codes require. The Python client's own `roost.client.session.Session` decides what is sent over a
connection, and its `Backoff` the pauses between attempts, so that a user under load behaves as a client does. Between
two events a user waits in one `receive`, until the earliest time at which it has something to do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from bench.load.swarm.client_connection import BROKEN, ClientConnection, NoGateway, open_line
from bench.load.swarm.phases import Phase
from bench.load.swarm.swarm import Swarm
from bench.support.clients.client_bytes import CLOSE_KIND, PING_KIND, PONG_KIND, TEXT_KIND
from bench.support.clients.close_stats import NO_CODE
from roost.client.backoff import STEADY_S, Backoff
from roost.client.effects import Effect, Ended, Moved, Postponed, Restart, Send, Welcomed
from roost.client.session import Session
from roost.wire.codes import BAD_SESSION, Comeback, comeback
from roost.wire.errors import DecodeError, RoostError
from roost.wire.messages.client import read_from_gateway
from roost.wire.messages.outcome import Outcome
from roost.wire.messages.registry import Choice

SILENCE_S = 60.0
"""A gateway pings about every 25 s; after this many seconds without a byte the client sends a ping (as
`roost.client.route`).
"""

PONG_S = 15.0
WELCOME_S = 10.0
UNIQUE = "{unique}"
"""Placeholder in a job's spec for a text that no other job has, so that no result is shared."""

Fire = Callable[[str, float, Exception | None], None]
"""Reports a request: its name, its duration in seconds, and the exception if it failed."""


class JobLost(Exception):
    """A job ended without a complete result."""


class Dismissed(Exception):
    """The close code forbids this user to reconnect."""


@dataclass(frozen=True)
class Habits:
    """Means of exponential waiting times, so that users do not act in step; 0 disables the action. `spec` is JSON."""

    job_every_s: float = 0.0
    ping_every_s: float = 0.0
    kind: str = "crawl"
    spec: str = '{"url": "http://load.invalid/{unique}", "depth": 0}'
    """The default is a crawl that fetches no page: it passes through to a master and back, without external
    requests.
    """


class Idler:
    """One user. `discovery` are the URLs of replicas, `source` the local address; empty is any."""

    def __init__(
        self, swarm: Swarm, habits: Habits, discovery: Sequence[str], source: str, fire: Fire, chance: Random
    ) -> None:
        self._swarm, self._habits, self._source, self._fire, self._chance = swarm, habits, source, fire, chance
        self._discovery = deque(discovery)
        self._session = Session(waits=True)
        self._backoff = Backoff()
        self._line: ClientConnection | None = None
        self._leaving: list[ClientConnection] = []
        self._arriving: tuple[str, float] | None = ("connect", time.monotonic())
        """The request that is reported at the next welcome, and when it began."""
        self._counted_at = ""
        """The gateway at which this user counts as connected; during a move, the old one until the next `welcome`."""
        self._was_cut = False
        self._jobs: dict[str, tuple[float, Phase]] = {}
        self._job_count = 0
        self._job_at = self._draw(habits.job_every_s)
        self._ping_at = self._draw(habits.ping_every_s)
        self._pinged_at = self._move_at = self._retry_at = inf
        self._heard_at = 0.0
        self._move: Moved | None = None
        self._retry = ""

    def _draw(self, mean_s: float) -> float:
        return time.monotonic() + self._chance.expovariate(1 / mean_s) if mean_s > 0 else inf

    @property
    def gateway(self) -> str:
        """The gateway where the user is or was connected."""
        return self._line.url if self._line is not None else ""

    def run(self) -> None:
        """Run until the greenlet is killed. Raises Dismissed."""
        try:
            line: ClientConnection | None = None
            while True:
                line = line or self._find()
                began = time.monotonic()
                code, line = self._serve(line)
                if line is None:
                    self._rest(code, time.monotonic() - began)
        finally:
            self._away()
            for each in [*self._leaving, *([self._line] if self._line is not None else [])]:
                each.leave()

    def cut(self) -> None:
        """Simulate a network failure of this user: its connection ends without a close frame."""
        if self._line is not None and self._counted_at:
            self._away()
            self._was_cut = True
            self._swarm.tally.cut += 1
            self._line.cut()

    # --- one line after the other -------------------------------------------------------------------

    def _find(self) -> ClientConnection:
        while True:
            try:
                line, turn = open_line(self._discovery, self._source)
                self._discovery.rotate(-turn)
                return line
            except NoGateway as problem:
                self._swarm.tally.refused[problem.reason] += 1
                time.sleep(self._backoff.fail(self._chance.random(), problem.retry_after_s))

    def _serve(self, line: ClientConnection) -> tuple[int, ClientConnection | None]:
        """Use the connection until it ends; return its close code, and the next connection if a `move` opened one."""
        self._line, self._heard_at, self._pinged_at = line, time.monotonic(), inf
        self._perform(self._session.opened(int(time.time() * 1000)))
        while True:
            now = time.monotonic()
            due_s = self._due()
            if due_s <= now:
                moved_to = self._act(now)
                if moved_to is not None:
                    self._leaving.append(line)
                    return 0, moved_to
                continue
            try:
                code = self._hear(line.receive(due_s - now))
            except OSError:
                code = BROKEN
            if code is not None:
                self._ended(line, code)
                return code, None

    def _due(self) -> float:
        """Return when there is something to do, even if nothing arrives."""
        if not self._session.is_welcome:
            return min(self._heard_at + WELCOME_S, self._move_at)
        hushed_at = (
            self._pinged_at + PONG_S if self._pinged_at < inf else min(self._heard_at + SILENCE_S, self._ping_at)
        )
        return min(hushed_at, self._job_at if self._may_submit() else inf, self._move_at, self._retry_at)

    def _may_submit(self) -> bool:
        return not self._jobs and self._swarm.wants_jobs

    def _act(self, now: float) -> ClientConnection | None:
        """Do what is due. Return the new connection when the user moved to another gateway, otherwise None."""
        if self._move_at <= now:
            return self._follow()
        if self._retry_at <= now:
            self._retry_at = inf
            self._perform(self._session.retry(self._retry))
        elif self._session.is_welcome and self._may_submit() and self._job_at <= now:
            self._submit(now)
        else:
            self._doubt(now)
        return None

    def _doubt(self, now: float) -> None:
        """Ping a silent connection, and drop it when there is no answer."""
        assert self._line is not None
        if self._session.is_welcome and self._pinged_at == inf:
            self._pinged_at = now
            self._line.ping()
            return
        self._fire("ping" if self._session.is_welcome else "welcome", now - self._heard_at, TimeoutError("no answer"))
        self._line.cut()
        self._heard_at, self._pinged_at, self._ping_at = now, inf, self._draw(self._habits.ping_every_s)

    def _hear(self, frames: list[tuple[int, bytes]]) -> int | None:
        """Process received frames; return the close code if one was a close frame."""
        assert self._line is not None
        if frames:
            self._heard_at = time.monotonic()
        for kind, payload in frames:
            if kind == PING_KIND:
                self._line.pong(payload)
            elif kind == PONG_KIND:
                self._ponged()
            elif kind == TEXT_KIND:
                try:
                    self._perform(self._session.received(read_from_gateway(payload)))
                except DecodeError:
                    self._swarm.tally.refused["a message that cannot be read"] += 1
            elif kind == CLOSE_KIND:
                self._line.confirm()
                return int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CODE
        return None

    def _ponged(self) -> None:
        if self._pinged_at < inf:
            name = self._swarm.label("ping", self._swarm.phase)
            self._fire(name, time.monotonic() - self._pinged_at, None)
            self._pinged_at, self._ping_at = inf, self._draw(self._habits.ping_every_s)

    def _ended(self, line: ClientConnection, code: int) -> None:
        line.close()
        self._line = None
        self._session.lost()
        self._leave_others()
        self._move_at = self._retry_at = inf
        if not self._was_cut:
            self._swarm.tally.lost[f"{self._swarm.phase} {code}"] += 1
        self._was_cut = False
        self._away()
        if self._arriving is None:
            self._arriving = f"reconnect: {self._swarm.phase}", time.monotonic()

    def _rest(self, code: int, lasted_s: float) -> None:
        """Wait as long as the close code requires (`roost.wire.codes`). Raises Dismissed."""
        way = comeback(code)
        if way is Comeback.NEVER:
            if code != BAD_SESSION.number or self._session.token is None:
                self._swarm.tally.dismissed += 1
                raise Dismissed(f"close code {code}")
            self._session.forget_token()
        if way is Comeback.WHEN_NEEDED and not self._session.unfinished() and self._job_at < inf:
            time.sleep(max(0.0, self._job_at - time.monotonic()))
            return
        if lasted_s >= STEADY_S:
            self._backoff.succeed()
        at_once = way is not Comeback.PAUSE and self._backoff.failures == 0
        wait_s = self._backoff.fail(self._chance.random())
        if not at_once:
            time.sleep(wait_s)

    def _follow(self) -> ClientConnection | None:
        """Open the connection that `move` named; when that fails, stay until the gateway closes."""
        assert self._move is not None
        move, self._move, self._move_at = self._move, None, inf
        try:
            line = ClientConnection(Choice(move.url, move.ticket), self._source)
        except NoGateway as problem:
            self._fire("move", 0.0, problem)
            return None
        self._arriving = "move", time.monotonic()
        return line

    # --- what the session wants ---------------------------------------------------------------------

    def _submit(self, now: float) -> None:
        self._job_count += 1
        request = f"load-{self._job_count}"
        self._jobs[request] = now, self._swarm.phase
        self._job_at = self._draw(self._habits.job_every_s)
        self._swarm.tally.submitted += 1
        unique = f"{self._swarm.name}-{id(self):x}-{self._job_count}"
        spec = self._habits.spec.replace(UNIQUE, unique)
        self._perform(self._session.submit(request, self._habits.kind, spec.encode()))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message) if self._line is not None:
                    self._line.send(message)
                case Welcomed():
                    self._welcomed()
                case Ended(request, answer):
                    self._answered(request, answer if isinstance(answer, RoostError) else answer.outcome)
                case Moved(after_s=after_s) if self._move is None:
                    self._move, self._move_at = effect, time.monotonic() + after_s
                case Postponed(request, after_s):
                    self._retry = request
                    self._retry_at = time.monotonic() + after_s * (0.5 + self._chance.random())
                case Restart() if self._line is not None:
                    self._line.cut()

    def _welcomed(self) -> None:
        assert self._line is not None
        now = time.monotonic()
        self._away()
        self._swarm.tally.opened += 1
        self._swarm.tally.connected[self._line.url] += 1
        self._counted_at = self._line.url
        self._leave_others()
        if self._arriving is not None:
            name, since = self._arriving
            self._swarm.tally.moved += name == "move"
            self._fire(name, now - since, None)
            self._arriving = None

    def _answered(self, request: str, outcome: RoostError | Outcome) -> None:
        since, phase = self._jobs.pop(request)
        problem = None
        if outcome is Outcome.DONE:
            self._swarm.tally.answered += 1
        else:
            self._swarm.tally.failed[str(outcome)] += 1
            problem = JobLost(str(outcome))
        self._fire(self._swarm.label("job", phase), time.monotonic() - since, problem)

    def _away(self) -> None:
        """Count the user as disconnected."""
        if self._counted_at:
            self._swarm.tally.connected[self._counted_at] -= 1
        self._counted_at = ""

    def _leave_others(self) -> None:
        for line in self._leaving:
            line.leave()
        self._leaving.clear()
