"""How a crawl gets on, shown on standard error: bars on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from roost.request import Event, LevelFound, Progress
from roost.streams import silence
from wire.clock import Clock

if TYPE_CHECKING:
    from backend.kinds.crawl.result import CrawlResult

LINE_EVERY_S = 2.0
"""Between plain lines: a log of an hour's crawl stays readable."""

SAME_LINE_EVERY_S = 30.0
"""When nothing has changed: a sign of life only."""


class Display(Protocol):
    """Shows events until it is closed; closing twice is fine."""

    def show(self, event: Event) -> None:
        """Something happened."""

    def say(self, text: str) -> None:
        """A line of its own, now."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class PlainDisplay:
    """Lines, at most one every `LINE_EVERY_S`."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self._next_at = self._same_at = clock.monotonic() + LINE_EVERY_S
        self._last = ""

    def show(self, event: Event) -> None:
        now = self._clock.monotonic()
        if isinstance(event, Progress) and event.known and now >= self._next_at:
            line = f"level {event.level}: {event.done} of {event.known} pages"
            if line != self._last or now >= self._same_at:
                self._last, self._next_at, self._same_at = line, now + LINE_EVERY_S, now + SAME_LINE_EVERY_S
                self.say(line)

    def say(self, text: str) -> None:
        try:
            print(printable(text), file=self._stream, flush=True)
        except OSError:  # nobody listens any more; the result still counts
            silence(self._stream)

    def close(self) -> None:
        """Nothing to undo."""


class TerminalDisplay:
    """A bar for each level whose pages are fetched."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._console = stream, Console(file=stream)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("pages"))
        self._bars = Bars(*columns, TimeElapsedColumn(), console=self._console)
        self._levels: dict[int, TaskID] = {}
        self._start: TaskID | None = self._bars.add_task("starting", total=None)
        self._bars.start()

    def show(self, event: Event) -> None:
        self._forget_start()
        if isinstance(event, LevelFound):
            self._finish_below(event.level)
        elif event.known:
            self._finish_below(event.level)
            if event.level not in self._levels:
                self._levels[event.level] = self._bars.add_task(f"level {event.level}", total=event.known)
            self._bars.update(self._levels[event.level], completed=event.done, total=event.known)

    def say(self, text: str) -> None:
        try:
            self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
        except OSError:  # the terminal was closed
            silence(self._stream)

    def close(self) -> None:
        self._forget_start()
        try:
            self._bars.stop()
        except OSError:
            silence(self._stream)

    def _forget_start(self) -> None:
        if self._start is not None:
            self._bars.remove_task(self._start)
            self._start = None

    def _finish_below(self, level: int) -> None:
        """Events may be dropped on the way: what comes from a level says that those before it are done."""
        for number, task in self._levels.items():
            if number < level:
                total = self._bars.tasks[self._bars.task_ids.index(task)].total
                self._bars.update(task, completed=total or 0)


def make_display(stream: TextIO, clock: Clock) -> Display:
    """The display that suits the stream."""
    return TerminalDisplay(stream) if stream.isatty() else PlainDisplay(stream, clock)


def printable(text: str) -> str:
    """Text of a peer's, unable to command a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def summary_line(result: CrawlResult) -> str:
    """What came of it, in one line."""
    counts = f"{_count(len(result.levels), 'level')}, {_count(result.listed, 'URL')}, {result.fetched} fetched"
    if result.broken is not None:
        counts += f", {result.checked} checked, {len(result.broken)} broken"
    faults = f"{len(result.failed)} failed, {len(result.skipped)} skipped"
    partly = ", incomplete" if result.truncated else ""
    return f"{result.outcome}: {counts}, {faults}{partly} ({result.elapsed_s:.1f} s)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
