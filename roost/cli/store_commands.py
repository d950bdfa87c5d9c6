"""``roost store migrate|check|stats|restored``: what operators do with a store, without a lock server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer

from roost.backend.engines import administration
from roost.backend.store.administration import Administration
from roost.backend.store.port import StoreLimits
from roost.cli import store_stats
from roost.cli.serving import EXIT_FAILED, checked
from roost.export.printable import printable
from roost.wire.errors import Misuse, Unavailable

T = TypeVar("T")

StoreUrl = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="ROOST_STORE",
        help="sqlite:PATH, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
    ),
]
DEFAULT_STORE = "sqlite:roost-jobs.db"

commands = typer.Typer(
    name="store", help="Migrate, check and repair a store.", no_args_is_help=True, rich_markup_mode="markdown"
)


def add_commands(app: typer.Typer) -> None:
    """Add ``store`` and its subcommands to the command line."""
    app.add_typer(commands, rich_help_panel="Operate")


@commands.command()
def migrate(
    store: StoreUrl = DEFAULT_STORE,
    grant: Annotated[
        str,
        typer.Option(metavar="ROLE", help="Give this role of the database the rights that lock servers need."),
    ] = "",
) -> None:
    """Bring a store to this version, and say what was done.

    A lock server does the same when it starts, if its user may. Use this as the owner of the database when lock servers
    have fewer rights, or when a large store takes long. Functions of other versions that no lock server has used for
    seven days are dropped.
    """
    opened = _administration(store)
    for sentence in _run(opened.expectation()):
        typer.echo(printable(sentence), err=True)
    for sentence in _run(opened.migrate(grant)):
        typer.echo(printable(sentence))


@commands.command()
def check(store: StoreUrl = DEFAULT_STORE) -> None:
    """Look for what is wrong with a store, and say what to do about it.

    It changes nothing, and needs no right but to read. The exit code is 1 when something is wrong.
    """
    findings = _run(_administration(store).check())
    for sentence in findings.wrong:
        typer.echo(printable(sentence))
    for sentence in findings.notes:
        typer.echo(f"Note: {printable(sentence)}")
    if findings.wrong:
        raise typer.Exit(EXIT_FAILED)
    typer.echo("Nothing is wrong.")


@commands.command()
def stats(
    store: StoreUrl = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; times are seconds since 1970.")] = False,
) -> None:
    """Count jobs by kind and state, requests, bytes of results and of tables.

    It changes nothing, and takes seconds however much is stored: what cannot be counted in time is estimated from a
    sample (PostgreSQL) or left out (SQLite), and the output says so.
    """
    found = _run(_administration(store).stats())
    if as_json:
        typer.echo(json.dumps(store_stats.as_json(found), indent=2))
        return
    for line in store_stats.lines(found):
        typer.echo(line)


@commands.command()
def restored(
    store: StoreUrl = DEFAULT_STORE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Make a store ready for use that was brought back from a backup, or that an asynchronous standby took over.

    Stop all lock servers before. Tokens and job ids go on after all that were given since the backup, and the leases
    that it holds are ended, so that two masters never work on one job. It says what is lost, and asks before it does
    anything.
    """
    opened = _administration(store)
    backup = _run(opened.look_back())
    for sentence in backup.sentences():
        typer.echo(printable(sentence))
    if not yes and not typer.confirm("Go on?", err=True):
        typer.echo("Nothing was changed.", err=True)
        raise typer.Exit(EXIT_FAILED)
    for sentence in _run(opened.go_on(backup)):
        typer.echo(printable(sentence))


def _administration(url: str) -> Administration:
    return checked(lambda: administration(url, StoreLimits()))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Return the result; end the command with status 1 when the store is away or does not allow it."""
    try:
        return asyncio.run(work)
    except (Misuse, Unavailable) as problem:
        typer.echo(f"Error: {printable(str(problem))}", err=True)
        raise typer.Exit(EXIT_FAILED) from None
