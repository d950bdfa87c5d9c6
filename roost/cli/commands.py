"""The ``roost`` command. Each subcommand is a function that is added to `app`.

Only results are written to standard output; everything else goes to standard error. Exit codes: 0 done, 1 could not
run, 2 usage error, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roost.backend.kinds.crawl.urls import Scope
from roost.cli import crawl_options as o
from roost.cli import operator_commands, store_commands
from roost.cli.output_target import CannotWrite, Target
from roost.cli.service_commands import add_commands
from roost.cli.serving import separate
from roost.export.formats import NEEDS, Format
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.telemetry import set_up_logging
from roost.wire.version import VERSION

if TYPE_CHECKING:
    from roost.cli.crawl_run import Order

app = typer.Typer(
    name="roost",
    help="Run jobs over connections that cost very little while idle; the first kind of job is a web crawl.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def show_version(wanted: bool) -> None:
    """Print the version and exit."""
    if wanted:
        typer.echo(f"roost {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=show_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Handle the options before the subcommand."""


@app.command(
    epilog="""
**Examples**

`roost crawl https://example.org` lists the page and its links.

`roost crawl https://example.org --depth 3 --format csv --output links.csv` goes three links deep, into a spreadsheet.

`roost crawl https://example.org -d 5 --include '/docs/*' --exclude '*?*'` stays below /docs and skips queries.

`roost crawl http://localhost:8080/docs --allow-private 127.0.0.0/8` crawls a site on this machine.

`roost crawl https://example.org --server http://roost.example:8000` lets a running Roost do the work.

`roost crawl https://example.org --depth 3 --format html --output report.html` writes a report to look at in a browser.

`roost crawl https://example.org -d 2 --select title=h1 --select 'next=a.next::attr(href)' -f csv` extracts from pages.

`roost crawl https://example.org -d 4 --check` looks for broken links, and lists the pages that have them.

Ctrl-C writes what was found so far; a second Ctrl-C quits at once. Exit codes: 0 done, 1 the crawl could not run,
2 usage error, 3 done and --check found broken links, 130 interrupted. Every option can be set by an environment
variable, such as ROOST_DEPTH; the values of a list, such as ROOST_INCLUDE, are separated by spaces.
"""
)
def crawl(
    ctx: typer.Context,
    url: o.Url,
    depth: o.Depth = 1,
    scope: o.ScopeOption = Scope.HOST,
    include: o.Include = None,
    exclude: o.Exclude = None,
    max_pages: o.MaxPages = None,
    max_age: o.MaxAge = None,
    sitemaps: o.Sitemaps = False,
    detail: o.Detail = False,
    check: o.Check = False,
    select: o.Select = None,
    allow_private: o.AllowPrivate = None,
    contact: o.Contact = "",
    ignore_robots: o.IgnoreRobots = False,
    server: o.Server = "",
    format: o.FormatOption = Format.TREE,
    output: o.Output = None,
    verbose: o.Verbose = False,
) -> None:
    """Crawl a site: list what is linked, level by level, from a start page."""
    from roost.cli.crawl_run import Order

    spec = o.checked_spec(
        url,
        depth,
        scope,
        include=o.checked_patterns("--include", include),
        exclude=o.checked_patterns("--exclude", exclude),
        max_pages=max_pages,
        max_age_s=max_age,
        detail=detail or NEEDS.get(format) == "detail" or None,
        links=NEEDS.get(format) == "links" or None,
        check=check or None,
        sitemaps=sitemaps or None,
        select=o.checked_selections(ctx, select),
    )
    own = None
    if server:
        o.refuse_workers_options(ctx)
    else:
        own = o.own_options(separate(allow_private or ()), contact, ignore_robots)
    set_up_logging("INFO" if verbose else "WARNING")
    raise typer.Exit(_run_crawl(Order(spec, format, server, own), output))


def _run_crawl(order: Order, output: Path | None) -> int:
    """Run a crawl until its end or Ctrl-C; returns the process's exit code."""
    import uvloop

    from roost.cli.crawl_run import INTERRUPTED, CrawlRun
    from roost.cli.progress import make_display

    try:
        target = Target(output)
    except CannotWrite as problem:
        raise typer.BadParameter(str(problem), param_hint="--output") from problem

    async def run() -> int:
        return await CrawlRun(order, target, make_display(sys.stderr, SYSTEM_CLOCK)).run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run())
    except KeyboardInterrupt:
        return INTERRUPTED


add_commands(app)
operator_commands.add_commands(app)
store_commands.add_commands(app)
