"""Shows the progress of a crawl on standard error: bars on a terminal, otherwise a plain line from time to time."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from roost.cli.streams import silence
from roost.client.request import Event, LevelFound, Progress
from roost.export.printable import printable
from roost.wire.clock import Clock

if TYPE_CHECKING:
    from roost.backend.kinds.crawl.output.crawl_result import CrawlResult

LINE_EVERY_S = 2.0
"""Shortest time between plain lines: the log of an hour's crawl stays readable."""

SAME_LINE_EVERY_S = 30.0
"""Time between lines while nothing changes; they only show that the crawl still runs."""

RATE_OVER_S = 5.0
"""Time over which the page rate is computed: short enough to show that a site slows down, long enough to be stable."""


class Display(Protocol):
    """Shows events until it is closed; closing twice is fine."""

    def show(self, event: Event) -> None:
        """Show an event."""

    def say(self, text: str) -> None:
        """Print a line of text now."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Pace:
    """The recent rate of pages per second. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._levels: dict[int, int] = {}
        self._marks: deque[tuple[float, int]] = deque()

    def note(self, progress: Progress, now: float) -> None:
        """Note the progress at this time."""
        self._levels[progress.level] = max(progress.done, self._levels.get(progress.level, 0))
        self._marks.append((now, sum(self._levels.values())))
        while len(self._marks) > 2 and now - self._marks[1][0] >= RATE_OVER_S:
            self._marks.popleft()

    def per_s(self) -> float | None:
        """Pages per second; None while there is too little data."""
        if len(self._marks) < 2:
            return None
        (first_at, first), (last_at, last) = self._marks[0], self._marks[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else None

    def __str__(self) -> str:
        rate = self.per_s()
        return f"{rate:.1f} pages/s" if rate is not None else ""


class Finds:
    """Counts the URLs of each level that were reported; of a long level only the beginning is reported."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._told = -1

    def note(self, found: LevelFound) -> None:
        """Add a piece of a level; its other pieces follow at once."""
        self._counts[found.level] = self._counts.get(found.level, 0) + len(found.items)

    def count(self, level: int) -> str:
        """The count as text, such as "12 URLs"; empty when it is not known."""
        return _count(self._counts[level], "URL") if level in self._counts else ""

    def news(self) -> list[tuple[int, str]]:
        """Levels that were found since the last call, with their counts as text."""
        news = [(level, self.count(level)) for level in sorted(self._counts) if level > self._told]
        self._told = max(self._counts, default=-1)
        return news


class PlainDisplay:
    """Prints a line for each level that is found, and at most one every `LINE_EVERY_S` for pages in between."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._clock = stream, clock
        self._next_at = self._same_at = clock.monotonic() + LINE_EVERY_S
        self._last: object = None
        self._pace, self._finds = Pace(), Finds()

    def show(self, event: Event) -> None:
        if isinstance(event, LevelFound):
            self._finds.note(event)
            return
        self._tell_levels()
        now = self._clock.monotonic()
        self._pace.note(event, now)
        if event.known and now >= self._next_at and (event != self._last or now >= self._same_at):
            self._last, self._next_at, self._same_at = event, now + LINE_EVERY_S, now + SAME_LINE_EVERY_S
            rate = f", {self._pace}" if str(self._pace) else ""
            self.say(f"level {event.level}: {event.done} of {event.known} pages{rate}")

    def say(self, text: str) -> None:
        try:
            print(printable(text), file=self._stream, flush=True)
        except OSError:  # standard error was closed; the crawl and its result go on
            silence(self._stream)

    def close(self) -> None:
        self._tell_levels()

    def _tell_levels(self) -> None:
        for level, count in self._finds.news():
            self.say(f"level {level}: {count}")


class TerminalDisplay:
    """Shows a progress bar for each level whose pages are fetched."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream, self._console, self._clock = stream, Console(file=stream), clock
        self._pace, self._finds = Pace(), Finds()
        told = (TextColumn("{task.fields[found]}"), TextColumn("{task.fields[pace]}"))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("pages"),
            *told,
        )
        self._bars = Bars(*columns, TimeElapsedColumn(), console=self._console)
        self._levels: dict[int, TaskID] = {}
        self._start: TaskID | None = self._bars.add_task("starting", total=None, found="", pace="")
        self._bars.start()

    def show(self, event: Event) -> None:
        self._forget_start()
        if isinstance(event, LevelFound):
            self._finds.note(event)
            self._finish_below(event.level)
            return
        self._pace.note(event, self._clock.monotonic())
        if not event.known:
            return
        self._finish_below(event.level)
        level, found = event.level, self._finds.count(event.level)
        if level not in self._levels:
            self._levels[level] = self._bars.add_task(f"level {level}", total=event.known, found=found, pace="")
        pace = str(self._pace)
        self._bars.update(self._levels[level], completed=event.done, total=event.known, found=found, pace=pace)

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
        """Complete the bars of earlier levels. Their last events may have been dropped; an event of a level shows
        that the earlier ones are done."""
        for number, task in self._levels.items():
            if number < level:
                total = self._bars.tasks[self._bars.task_ids.index(task)].total
                self._bars.update(task, completed=total or 0, pace="")


def make_display(stream: TextIO, clock: Clock) -> Display:
    """A display for the stream: bars for a terminal, otherwise plain lines."""
    return TerminalDisplay(stream, clock) if stream.isatty() else PlainDisplay(stream, clock)


def summary_line(result: CrawlResult) -> str:
    """The outcome and counts of a crawl in one line."""
    counts = f"{_count(len(result.levels), 'level')}, {_count(result.listed, 'URL')}, {result.fetched} fetched"
    if result.sitemaps is not None:
        counts += f", {_count(result.sitemaps, 'sitemap')}"
    if result.broken is not None:
        counts += f", {result.checked} checked, {len(result.broken)} broken"
    faults = f"{len(result.failed)} failed, {len(result.skipped)} skipped"
    partly = ", incomplete" if result.truncated else ""
    return f"{result.outcome}: {counts}, {faults}{partly} ({result.elapsed_s:.1f} s)"


def reason_lines(result: CrawlResult) -> list[str]:
    """One line for failed and one for skipped pages, with the number of pages for each reason."""
    lines = []
    for what, pages in (("failed", result.failed), ("skipped", result.skipped)):
        counts = Counter(reason for _, reason in pages).most_common()
        if counts:
            lines.append(f"{what}: " + ", ".join(f"{count} {reason}" for reason, count in counts))
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
