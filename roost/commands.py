"""The ``roost`` command. Each subcommand is a function added to `app` in one line.

Standard output carries results only; everything else goes to standard error. Exit codes: 0 done, 1 it could not run,
2 usage, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from backend.kinds.crawl.addresses import parse_networks
from backend.kinds.crawl.options import CrawlOptions
from backend.kinds.crawl.spec import MAX_AGE_S, MAX_DEPTH, MAX_PAGES, start_url
from backend.kinds.crawl.urls import Scope
from roost.export import CannotWrite, Format, Target
from roost.parts import add_commands, separate
from roost.version import VERSION
from wire.clock import SYSTEM_CLOCK
from wire.errors import BadInput
from wire.telemetry import set_up_logging

app = typer.Typer(
    name="roost",
    help="Jobs over connections that cost next to nothing while they idle; the first kind of job is a web crawl.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def show_version(wanted: bool) -> None:
    """Say which version this is, and end."""
    if wanted:
        typer.echo(f"roost {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=show_version, help="Say which version this is.")
    ] = False,
) -> None:
    """Takes what comes before the subcommand."""


@app.command(
    epilog="""
**Examples**

`roost crawl https://example.org` lists the page and its links.

`roost crawl https://example.org --depth 3 --format csv --output links.csv` goes three links deep, into a spreadsheet.

`roost crawl http://localhost:8080/docs --allow-private 127.0.0.0/8` crawls a site on this machine.

`roost crawl https://example.org --server http://roost.example:8000` has a running Roost do the work.

Ctrl-C writes what was found so far; once more quits at once. Exit codes: 0 done, 1 the crawl could not run,
2 usage, 130 interrupted. Every option can be given as a variable, such as ROOST_DEPTH;
lists, such as ROOST_ALLOW_PRIVATE, with spaces or commas.
"""
)
def crawl(
    ctx: typer.Context,
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="Where to start, such as https://example.org/docs.", show_default=False),
    ],
    depth: Annotated[
        int,
        typer.Option("--depth", "-d", min=0, max=MAX_DEPTH, envvar="ROOST_DEPTH", help="How many links away to list."),
    ] = 1,
    scope: Annotated[
        Scope, typer.Option(envvar="ROOST_SCOPE", help="Whose links are followed: the same host's, domain's, or any.")
    ] = Scope.HOST,
    max_pages: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_PAGES, envvar="ROOST_MAX_PAGES", help="Fetch at most so many pages.", show_default="10000"
        ),
    ] = None,
    max_age: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=MAX_AGE_S,
            metavar="SECONDS",
            envvar="ROOST_MAX_AGE",
            help="How old what is kept of pages may be; 0 asks every site whether it has changed.",
            show_default="300",
        ),
    ] = None,
    allow_private: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR",
            envvar="ROOST_ALLOW_PRIVATE",
            help="Let the crawl reach these private addresses, as 10.0.0.0/8; may be repeated. Not with --server.",
        ),
    ] = None,
    contact: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            envvar="ROOST_CONTACT",
            help="Address or page by which the site's people reach you, sent with each request. Not with --server.",
        ),
    ] = "",
    ignore_robots: Annotated[
        bool,
        typer.Option(
            "--ignore-robots",
            envvar="ROOST_IGNORE_ROBOTS",
            help="Crawl what robots.txt forbids: for a site of your own. Not with --server.",
        ),
    ] = False,
    server: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="ROOST_SERVER",
            help="Ask the Roost whose discovery is here, instead of running one; several replicas with commas.",
        ),
    ] = "",
    format: Annotated[
        Format, typer.Option("--format", "-f", envvar="ROOST_FORMAT", help="How the result is written.")
    ] = Format.TREE,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", envvar="ROOST_OUTPUT", help="Write to a file, whole or not at all."
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", envvar="ROOST_VERBOSE", help="Say more of what happens, on standard error."),
    ] = False,
) -> None:
    """Crawl a site: list what is linked, level by level, from a start page."""
    import uvloop

    from roost.crawl_run import INTERRUPTED, CrawlRun, Order
    from roost.render import make_display

    spec = checked_spec(url, depth, scope, max_pages=max_pages, max_age_s=max_age)
    own = None
    if server:
        refuse_workers_options(ctx)
    else:
        own = own_options(separate(allow_private or ()), contact, ignore_robots)
    set_up_logging("INFO" if verbose else "WARNING")
    try:
        target = Target(output)
    except CannotWrite as problem:
        raise typer.BadParameter(str(problem), param_hint="--output") from problem

    async def run() -> int:
        return await CrawlRun(Order(spec, format, server, own), target, make_display(sys.stderr, SYSTEM_CLOCK)).run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(run())
    except KeyboardInterrupt:
        code = INTERRUPTED
    raise typer.Exit(code)


def checked_spec(url: str, depth: int, scope: Scope, **others: float | None) -> dict[str, object]:
    """The crawl's spec, with those of the others that were given. Raises BadParameter, before anything is started."""
    try:
        spec: dict[str, object] = {"url": start_url(url), "depth": depth, "scope": str(scope)}
    except BadInput as problem:
        raise typer.BadParameter(problem.message, param_hint="URL") from problem
    return spec | {name: value for name, value in others.items() if value is not None}


def refuse_workers_options(ctx: typer.Context) -> None:
    """Raises BadParameter for what is a running system's to decide. A variable is meant for systems started here."""
    for name in ("allow_private", "contact", "ignore_robots"):
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            advice = f"with --server its workers decide this, for all their crawls: start them with {option}"
            raise typer.BadParameter(advice, param_hint=option)


def own_options(allow_private: Sequence[str], contact: str, ignore_robots: bool) -> CrawlOptions:
    """How the system that is started here crawls. Raises BadParameter."""
    option = "--allow-private"
    try:
        parse_networks(allow_private)
        option = "--contact"
        return CrawlOptions(tuple(allow_private), contact=contact, ignores_robots=ignore_robots)
    except BadInput as problem:
        raise typer.BadParameter(problem.message, param_hint=option) from problem


add_commands(app)
