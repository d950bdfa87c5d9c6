from __future__ import annotations

import io
from dataclasses import replace

import pytest

from roost.backend.kinds.crawl.output.crawl_result import BrokenLink, CrawlResult
from roost.cli.progress import (
    LINE_EVERY_S,
    RATE_OVER_S,
    Pace,
    PlainDisplay,
    TerminalDisplay,
    make_display,
    reason_lines,
    summary_line,
)
from roost.client.request import LevelFound, Progress
from roost.export.printable import printable
from roost.wire.messages.outcome import Outcome
from tests.clock import ManualClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_plain_lines_are_far_apart_however_often_something_happens() -> None:
    stream, clock = io.StringIO(), ManualClock()
    display = PlainDisplay(stream, clock)
    for done in range(100):
        display.show(Progress(1, done, 100))
        await clock.advance(LINE_EVERY_S / 10)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "level 1: 10 of 100 pages, 5.0 pages/s"
    assert 9 <= len(lines) <= 10


def test_a_terminal_gets_a_bar_for_each_level_and_those_below_are_full() -> None:
    stream = Terminal()
    display = make_display(stream, ManualClock())
    assert isinstance(display, TerminalDisplay)
    display.show(Progress(0, 0, 1))
    display.show(LevelFound(1, 0, ["u"]))
    display.show(Progress(1, 3, 8))
    display.show(Progress(2, 0, 0))
    display.close()
    display.close()
    last = stream.getvalue().rpartition("level 0")[2]
    assert "1/1" in last
    assert "3/8" in last
    assert "level 2" not in last
    assert stream.getvalue().endswith("\x1b[?25h"), "the cursor is back"


def test_from_the_start_a_terminal_shows_that_something_happens_and_never_a_number_nobody_told() -> None:
    stream = Terminal()
    display = TerminalDisplay(stream, ManualClock())
    assert "starting" in stream.getvalue()
    for level in range(20):
        display.show(Progress(level, 0, 7))
    display.close()
    assert "/100" not in stream.getvalue()
    assert "starting" not in stream.getvalue().rpartition("level 0")[2]


class Broken(io.TextIOWrapper):
    """A terminal that was closed."""

    def __init__(self, isatty: bool) -> None:
        super().__init__(open("/dev/full", "wb", buffering=0), write_through=True)  # noqa: SIM115
        self._isatty = isatty

    def isatty(self) -> bool:
        return self._isatty


@pytest.mark.parametrize("isatty", [False, True])
def test_a_display_that_nobody_can_see_disturbs_nobody(isatty: bool) -> None:
    with Broken(isatty) as stream:
        display = PlainDisplay(stream, ManualClock()) if not isatty else TerminalDisplay(Terminal(), ManualClock())
        if isinstance(display, TerminalDisplay):
            display._console.file = display._stream = stream
        display.say("nobody hears this")
        display.show(Progress(1, 0, 2))
        display.close()


async def test_a_line_that_says_nothing_new_is_rare() -> None:
    stream, clock = io.StringIO(), ManualClock()
    display = PlainDisplay(stream, clock)
    for _ in range(40):
        await clock.advance(LINE_EVERY_S)
        display.show(Progress(1, 17, 18))
    assert len(stream.getvalue().splitlines()) == 3


async def test_the_rate_is_that_of_the_last_seconds_over_all_levels() -> None:
    pace = Pace()
    assert pace.per_s() is None
    for now, level, done in ((0.0, 0, 0), (1.0, 0, 1), (1.0, 1, 0), (3.0, 1, 20), (2.0 + RATE_OVER_S, 1, 30)):
        pace.note(Progress(level, done, 100), now)
    assert pace.per_s() == (30 + 1 - 1) / (1.0 + RATE_OVER_S)
    pace.note(Progress(1, 30, 100), 100.0)
    pace.note(Progress(1, 30, 100), 100.0 + RATE_OVER_S)
    assert str(pace) == "0.0 pages/s"


def test_levels_are_told_as_they_finish_each_once() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream, ManualClock())
    display.show(LevelFound(0, 0, ["u"]))
    display.show(Progress(0, 0, 1))
    display.show(LevelFound(1, 0, ["a", "b"]))
    display.show(LevelFound(1, 1, ["c"]))
    display.show(Progress(1, 0, 3))
    display.show(Progress(1, 1, 3))
    display.show(LevelFound(2, 0, ["d"]))
    display.close()
    display.close()
    assert stream.getvalue().splitlines() == ["level 0: 1 URL", "level 1: 3 URLs", "level 2: 1 URL"]


async def test_a_terminal_shows_the_rate_and_what_a_level_holds() -> None:
    stream, clock = Terminal(), ManualClock()
    display = TerminalDisplay(stream, clock)
    display.show(LevelFound(1, 0, ["a", "b", "c"]))
    display.show(Progress(1, 0, 2))
    await clock.advance(2.0)
    display.show(Progress(1, 1, 2))
    display.close()
    last = stream.getvalue().rpartition("level 1")[2]
    assert "3 URLs" in last
    assert "0.5 pages/s" in last


def test_elsewhere_there_are_plain_lines() -> None:
    assert isinstance(make_display(io.StringIO(), ManualClock()), PlainDisplay)


def test_a_peers_text_cannot_command_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\x9b") == "a?[2Jb?c?"
    stream = Terminal()
    display = TerminalDisplay(stream, ManualClock())
    display.close()
    stream.truncate(0)
    display.say("\x1b]0;title\x07 [bold]x[/bold]")
    assert stream.getvalue().strip("\0\n") == "?]0;title? [bold]x[/bold]"


def test_the_reasons_are_counted_the_commonest_first() -> None:
    failed = [("a", "timeout"), ("b", "status_404"), ("c", "status_404")]
    result = CrawlResult("u", 1, Outcome.DONE, False, [["u"]], 0, failed, [("d", "scope")], 1.25)
    assert reason_lines(result) == ["failed: 2 status_404, 1 timeout", "skipped: 1 scope"]
    assert reason_lines(replace(result, failed=[], skipped=[])) == []


def test_the_summary_counts() -> None:
    result = CrawlResult("u", 1, Outcome.CANCELLED, True, [["u"]], 0, [("u", "timeout")], [], 1.25)
    checked = replace(result, broken=[BrokenLink("u", "timeout", 1, ["v"])], checked=3)
    assert summary_line(checked).startswith("cancelled: 1 level, 1 URL, 0 fetched, 3 checked, 1 broken, 1 failed")
    assert summary_line(result) == "cancelled: 1 level, 1 URL, 0 fetched, 1 failed, 0 skipped, incomplete (1.2 s)"
