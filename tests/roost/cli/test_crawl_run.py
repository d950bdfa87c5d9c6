"""One crawl against a gateway that leaves it alone."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import pytest
from msgspec import Raw

from roost.cli.crawl_run import CrawlRun, Order
from roost.cli.output_target import Target
from roost.cli.progress import PlainDisplay
from roost.client.request import Event, LevelFound
from roost.discovery.server import Discovery
from roost.export.formats import Format
from roost.wire.messages import client as protocol
from roost.wire.messages.outcome import Failure, Outcome
from tests.clock import ManualClock
from tests.roost.gateway import ScriptedGateway


class WatchedDisplay(PlainDisplay):
    """Lets a test wait for what is shown."""

    def __init__(self) -> None:
        self.said = io.StringIO()
        self.shown: asyncio.Queue[Event] = asyncio.Queue()
        super().__init__(self.said, ManualClock())

    def show(self, event: Event) -> None:
        self.shown.put_nowait(event)


def make_run(server: str, path: Path) -> tuple[CrawlRun, WatchedDisplay]:
    display = WatchedDisplay()
    order = Order({"url": "http://a.example/", "depth": 1}, Format.JSON, server)
    return CrawlRun(order, Target(path), display), display


async def test_of_several_replicas_of_discovery_the_first_that_answers_is_enough(
    discovery: Discovery, gateway: ScriptedGateway, tmp_path: Path
) -> None:
    await gateway.register(discovery.url)
    run, _ = make_run(f"http://127.0.0.1:1,{discovery.url}", tmp_path / "out")
    running = asyncio.create_task(run.run())
    conversation = await gateway.meet()
    await conversation.welcome()
    submit = await conversation.hear(protocol.Submit)
    await conversation.say(protocol.Result(submit.id, Outcome.DONE, 0))
    assert await running == 0


async def test_a_cancel_that_nobody_answers_ends_with_what_was_streamed(
    gateway: ScriptedGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.cli.crawl_run.CANCEL_WITHIN_S", 0.2)
    path = tmp_path / "out"
    run, display = make_run(gateway.url, path)
    running = asyncio.create_task(run.run())
    conversation = await gateway.meet()
    await conversation.welcome()
    submit = await conversation.hear(protocol.Submit)
    level = protocol.Level(submit.id, 0, 0, Raw(b'["http://a.example/"]'))
    await conversation.say(protocol.Accepted(submit.id), level, protocol.Level(submit.id, 1, 0, Raw(b'["x","y"]')))
    assert [await display.shown.get(), await display.shown.get()][1] == LevelFound(1, 0, ["x", "y"])
    run.interrupt()
    assert await running == 130
    result = json.loads(path.read_bytes())
    assert (result["outcome"], result["levels"]) == ("cancelled", [["http://a.example/"], ["x", "y"]])


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.DONE, 0), (Outcome.EXPIRED, 1), (Outcome.CANCELLED, 1), (Outcome.FAILED, 1)]
)
async def test_only_a_crawl_that_is_done_exits_0_and_only_a_failed_one_writes_nothing(
    gateway: ScriptedGateway, tmp_path: Path, outcome: Outcome, code: int
) -> None:
    path = tmp_path / "out"
    run, display = make_run(gateway.url, path)
    running = asyncio.create_task(run.run())
    conversation = await gateway.meet()
    await conversation.welcome()
    submit = await conversation.hear(protocol.Submit)
    failure = Failure("unreachable", "nothing\x1b[2J answers") if outcome is Outcome.FAILED else None
    await conversation.say(protocol.Result(submit.id, outcome, 0, failure=failure))
    assert await running == code
    assert path.exists() is (outcome is not Outcome.FAILED)
    assert "\x1b" not in display.said.getvalue()
