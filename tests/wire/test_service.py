"""One lifecycle for all: order, failures, signals, and the operator's HTTP face."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from bench.support.ports import free_port
from roost.wire.service import AdminHttp, FunctionService, ServiceGroup

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30


class Recorder:
    """A part that writes down what happens to it, and raises where it is told to."""

    def __init__(self, log: list[str], name: str, fails_at: str = "") -> None:
        self._log, self._name, self._fails_at = log, name, fails_at

    async def start(self) -> None:
        self._note("start")

    async def drain(self) -> None:
        self._note("drain")

    async def stop(self) -> None:
        self._note("stop")

    def _note(self, step: str) -> None:
        self._log.append(f"{step} {self._name}")
        if step == self._fails_at:
            raise ValueError(f"{self._name} cannot {step}")


async def test_parts_start_in_order_and_drain_and_stop_in_reverse() -> None:
    steps: list[str] = []
    stack = ServiceGroup([Recorder(steps, "a"), Recorder(steps, "b")])
    ready = [stack.ready]
    for step in (stack.start, stack.drain, stack.stop):
        await step()
        ready.append(stack.ready)
    assert ready == [False, True, False, False]
    assert steps == ["start a", "start b", "drain b", "drain a", "stop b", "stop a"]


async def test_a_part_may_be_made_of_functions() -> None:
    steps: list[str] = []

    async def stop() -> None:
        steps.append("stopped")

    stack = ServiceGroup([FunctionService(stop=stop)])
    await stack.start()
    await stack.drain()
    await stack.stop()
    assert steps == ["stopped"]


async def test_stopping_twice_or_unstarted_does_nothing_more() -> None:
    steps: list[str] = []
    stack = ServiceGroup([Recorder(steps, "a")])
    await stack.stop()
    await stack.start()
    await asyncio.gather(stack.stop(), stack.stop())
    await stack.stop()
    assert steps == ["start a", "stop a"]


async def test_a_part_that_cannot_start_leaves_nothing_running() -> None:
    steps: list[str] = []
    stack = ServiceGroup([Recorder(steps, "a"), Recorder(steps, "b", fails_at="start"), Recorder(steps, "c")])
    with pytest.raises(ValueError, match="b cannot start"):
        await stack.start()
    assert steps == ["start a", "start b", "stop b", "stop a"]
    assert not stack.ready


@pytest.mark.parametrize("step", ["drain", "stop"])
async def test_an_error_in_one_part_does_not_keep_the_others(step: str, caplog: pytest.LogCaptureFixture) -> None:
    steps: list[str] = []
    stack = ServiceGroup([Recorder(steps, "a"), Recorder(steps, "b", fails_at=step)])
    await stack.start()
    with caplog.at_level(logging.ERROR):
        await stack.drain()
        await stack.stop()
    assert steps[2:] == ["drain b", "drain a", "stop b", "stop a"]
    assert [record.__dict__["action"] for record in caplog.records] == [f"{step}_failed"]


async def test_a_part_that_never_drains_costs_the_window_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    steps: list[str] = []

    class Endless(Recorder):
        async def drain(self) -> None:
            await asyncio.Event().wait()

    stack = ServiceGroup([Recorder(steps, "a"), Endless(steps, "b")], drain_s=0.01)
    await stack.start()
    await stack.drain()
    assert [record.__dict__["action"] for record in caplog.records] == ["drain_over"]
    await stack.stop()
    assert steps == ["start a", "start b", "stop b", "stop a"]


class Switch:
    """Whether the process under test is ready."""

    def __init__(self) -> None:
        self.on = False

    def __call__(self) -> bool:
        return self.on


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
async def admin(switch: Switch) -> AsyncIterator[AdminHttp]:
    admin = AdminHttp("127.0.0.1", 0, switch)
    await admin.start()
    yield admin
    await admin.stop()
    await admin.stop()


async def _get(admin: AdminHttp, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{admin.port}{path}") as answer,
    ):
        return answer.status, answer.content_type, await answer.text()


async def test_health_says_that_the_process_runs_and_ready_that_it_works(admin: AdminHttp, switch: Switch) -> None:
    assert (await _get(admin, "/health"))[0] == 200
    assert (await _get(admin, "/ready"))[0] == 503
    switch.on = True
    assert (await _get(admin, "/ready"))[0] == 200
    await admin.drain()
    switch.on = False
    assert (await _get(admin, "/health"))[0] == 200
    assert (await _get(admin, "/ready"))[0] == 503


async def test_metrics_are_prometheus_text(admin: AdminHttp) -> None:
    status, content_type, text = await _get(admin, "/metrics")
    assert (status, content_type) == (200, "text/plain")
    assert "# TYPE python_info gauge" in text


async def test_a_stopped_admin_port_is_free_again() -> None:
    port = free_port()
    for _ in range(2):
        admin = AdminHttp("127.0.0.1", port, lambda: True)
        await admin.start()
        assert admin.port == port
        assert (await _get(admin, "/health"))[0] == 200
        await admin.stop()


async def test_a_port_that_is_taken_is_named_in_the_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        admin = AdminHttp("127.0.0.1", port, lambda: True)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            await admin.start()
        await admin.stop()


class Spoken:
    """The process of `tests.wire.signalled`, read word by word."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read_until(self, word: str) -> list[str]:
        assert self._process.stdout is not None
        lines: list[str] = []
        while word not in lines:
            line = self._process.stdout.readline()
            assert line, f"ended before saying {word!r}: {lines}"
            lines.append(line.rstrip())
        return lines

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def rest(self) -> tuple[int, list[str], str]:
        """Exit code, further lines, standard error."""
        out, errors = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, out.split("\n")[:-1], errors


@contextmanager
def _process(*habits: str) -> Iterator[Spoken]:
    command = [sys.executable, "-m", "tests.wire.signalled", *habits]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield Spoken(process)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_stops_and_ends_well(number: signal.Signals) -> None:
    with _process() as process:
        assert process.read_until("ready") == ["low start", "high start", "ready"]
        process.send(number)
        code, lines, errors = process.rest()
    assert (code, lines) == (0, ["high drain", "low drain", "high stop", "low stop", "over"])
    assert errors == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_the_drain_short_but_not_the_stop(number: signal.Signals) -> None:
    with _process("drain-hangs") as process:
        process.read_until("ready")
        process.send(number)
        process.read_until("high drain")
        process.send(number)
        code, lines, errors = process.rest()
    assert (code, lines) == (0, ["high stop", "low stop", "over"])
    assert errors == ""


def test_a_signal_during_a_start_that_hangs_stops_what_started() -> None:
    with _process("start-hangs") as process:
        process.read_until("high start")
        process.send(signal.SIGTERM)
        code, lines, _ = process.rest()
    assert (code, lines) == (0, ["high stop", "low stop", "over"])


def test_a_process_that_cannot_start_says_why_and_fails() -> None:
    with _process("start-fails") as process:
        code, lines, errors = process.rest()
    assert code != 0
    assert lines == ["low start", "high start", "high stop", "low stop"]
    assert "RuntimeError: start fails" in errors
