from __future__ import annotations

import io
from dataclasses import replace

import pytest

from backend.kinds.crawl.result import BrokenLink, CrawlResult
from roost.render import LINE_EVERY_S, PlainDisplay, TerminalDisplay, make_display, printable, summary_line
from roost.request import LevelFound, Progress
from tests.clock import ManualClock
from wire.messages.outcome import Outcome


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
    assert lines[0] == "level 1: 10 of 100 pages"
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
    display = TerminalDisplay(stream)
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
        display = PlainDisplay(stream, ManualClock()) if not isatty else TerminalDisplay(Terminal())
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


def test_elsewhere_there_are_plain_lines() -> None:
    assert isinstance(make_display(io.StringIO(), ManualClock()), PlainDisplay)


def test_a_peers_text_cannot_command_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\x9b") == "a?[2Jb?c?"
    stream = Terminal()
    display = TerminalDisplay(stream)
    display.close()
    stream.truncate(0)
    display.say("\x1b]0;title\x07 [bold]x[/bold]")
    assert stream.getvalue().strip("\0\n") == "?]0;title? [bold]x[/bold]"


def test_the_summary_counts() -> None:
    result = CrawlResult("u", 1, Outcome.CANCELLED, True, [["u"]], 0, [("u", "timeout")], [], 1.25)
    checked = replace(result, broken=[BrokenLink("u", "timeout", 1, ["v"])], checked=3)
    assert summary_line(checked).startswith("cancelled: 1 level, 1 URL, 0 fetched, 3 checked, 1 broken, 1 failed")
    assert summary_line(result) == "cancelled: 1 level, 1 URL, 0 fetched, 1 failed, 0 skipped, incomplete (1.2 s)"
