"""The session against a small honest service over a link that repeats and breaks: nothing lost, nothing twice."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from msgspec import Raw

from roost.client.effects import Answer, Effect, Ended, Restart, Send
from roost.client.session import ACK_REPEATS, Session
from roost.wire.messages import client as protocol
from roost.wire.messages.client import FromClient, FromGateway, Limits
from roost.wire.messages.outcome import Outcome

pytestmark = pytest.mark.slow

LIMITS = Limits(10_000, 10, 3600)


@dataclass
class Job:
    parts: list[bytes]
    is_over: bool = False
    is_cancelled: bool = False
    is_acknowledged: bool = False


@dataclass
class Service:
    """Store and gateway in one: remembers requests, answers as the protocol says."""

    jobs: dict[str, Job] = field(default_factory=dict)
    epoch: int = -1

    def hear(self, message: FromClient) -> list[FromGateway]:
        match message:
            case protocol.Hello(epoch=epoch):
                assert epoch > self.epoch
                self.epoch = epoch
                return [protocol.Welcome("s", LIMITS)]
            case protocol.Submit(id=request):
                job = self.jobs.setdefault(request, Job([f'"{request}.{n}"'.encode() for n in range(len(request) % 3)]))
                return [protocol.Accepted(request), *self.tell(request, job)]
            case protocol.Resume(ids=ids):
                return [said for request in ids for said in self.resume(request)]
            case protocol.Cancel(id=request):
                job = self.jobs.setdefault(request, Job([], is_over=True, is_cancelled=True))
                job.is_cancelled = job.is_cancelled or not job.is_over
                job.is_over = True
                return self.tell(request, job)
            case protocol.Ack(id=request):
                assert self.jobs[request].is_over
                self.jobs[request].is_acknowledged = True
                return []

    def resume(self, request: str) -> list[FromGateway]:
        job = self.jobs.get(request)
        return [protocol.Unknown(request)] if job is None else self.tell(request, job)

    def tell(self, request: str, job: Job) -> list[FromGateway]:
        if not job.is_over or job.is_acknowledged:
            return []
        parts: list[FromGateway] = [protocol.Part(request, seq, Raw(data)) for seq, data in enumerate(job.parts)]
        outcome = Outcome.CANCELLED if job.is_cancelled else Outcome.DONE
        return [*parts, protocol.Result(request, outcome, len(job.parts))]


class SessionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.session, self.service = Session(), Service()
        self.up: deque[FromClient] = deque()
        self.down: deque[FromGateway] = deque()
        self.is_open = False
        self.submitted: list[str] = []
        self.cancelled: set[str] = set()
        self.answers: dict[str, Answer] = {}
        self.lost_acks: Counter[str] = Counter()

    def act(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                assert self.is_open
                self.up.append(effect.message)
            elif isinstance(effect, Ended):
                assert effect.request not in self.answers, "handed on twice"
                assert isinstance(effect.answer, Answer)
                self.answers[effect.request] = effect.answer
            assert not isinstance(effect, Restart)

    @rule(letters=st.integers(1, 3))
    def ask(self, letters: int) -> None:
        request = f"{len(self.submitted)}{'x' * letters}"
        self.submitted.append(request)
        self.act(self.session.submit(request, "k", b"{}"))

    @precondition(lambda self: self.submitted)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.submitted))
        self.cancelled.add(request)
        self.act(self.session.cancel(request))

    @precondition(lambda self: not self.is_open)
    @rule(now_ms=st.integers(0, 10))
    def connect(self, now_ms: int) -> None:
        self.is_open = True
        self.act(self.session.opened(now_ms))

    @precondition(lambda self: self.is_open)
    @rule()
    def break_link(self) -> None:
        self.is_open = False
        self.lost_acks.update(message.id for message in self.up if isinstance(message, protocol.Ack))
        self.up.clear()
        self.down.clear()
        self.session.lost()

    @precondition(lambda self: self.up)
    @rule(count=st.integers(1, 5))
    def deliver_up(self, count: int) -> None:
        for _ in range(min(count, len(self.up))):
            self.down.extend(self.service.hear(self.up.popleft()))

    @precondition(lambda self: self.down)
    @rule(count=st.integers(1, 5))
    def deliver_down(self, count: int) -> None:
        for _ in range(min(count, len(self.down))):
            self.act(self.session.received(self.down.popleft()))

    @precondition(lambda self: self.service.jobs)
    @rule(data=st.data(), times=st.integers(1, 2))
    def a_job_ends_and_a_knock_may_come_twice(self, data: st.DataObject, times: int) -> None:
        request = data.draw(st.sampled_from(sorted(self.service.jobs)))
        job = self.service.jobs[request]
        job.is_over = True
        if self.is_open and self.session.is_welcome and not self.up:
            self.down.extend(self.service.tell(request, job) * times)

    @precondition(lambda self: any(not job.is_over for job in self.service.jobs.values()))
    @rule(data=st.data())
    def an_offer_was_lost(self, data: st.DataObject) -> None:
        """P12: what was never stored is found to be unknown."""
        request = data.draw(st.sampled_from(sorted(r for r, job in self.service.jobs.items() if not job.is_over)))
        del self.service.jobs[request]
        if self.is_open and self.session.is_welcome:
            self.down.append(protocol.Unknown(request))

    def teardown(self) -> None:
        """With a link that holds and jobs that end, everything asked for comes to its one right end."""
        self.break_link()
        self.connect(0)
        while self.up or self.down:
            self.deliver_up(100) if self.up else self.deliver_down(100)
        for request, job in self.service.jobs.items():
            if not job.is_over:
                job.is_over = True
                self.down.extend(self.service.tell(request, job))
        while self.up or self.down:
            self.deliver_down(100) if self.down else self.deliver_up(100)
        assert set(self.answers) == set(self.submitted)
        assert self.session.unfinished() == []
        for request, answer in self.answers.items():
            job = self.service.jobs.get(request, Job([], is_acknowledged=True))
            assert job.is_acknowledged or self.lost_acks[request] > ACK_REPEATS or request in self.cancelled
            assert list(answer.parts) == job.parts or request in self.cancelled
            assert answer.outcome is Outcome.DONE or request in self.cancelled


TestSession = SessionMachine.TestCase
TestSession.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
