"""``roost status|drain|rebalance``: what operators ask a running system, by way of discovery.

With several replicas all are asked. Orders need the admin token, from the environment only: ROOST_ADMIN_TOKEN, the same
that discovery was started with.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from roost.cli.discovery_replicas import Replicas, Reply
from roost.cli.serving import (
    ADMIN_VARIABLE,
    DISCOVERY_URL,
    EXIT_FAILED,
    EXIT_USAGE,
    admin_token,
    separate,
)
from roost.cli.status_table import merge, table
from roost.export.printable import printable
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.errors import BadInput

WATCH_S = 1.0
"""Parts beat every second."""

WIDE_COLUMNS = 200
"""Where the output is no terminal."""

SLACK_S = 10.0
"""Beyond its window, for a gateway to be empty: the order travels with a beat, and so does the news of its end."""

Server = Annotated[
    str,
    typer.Option(metavar="URL", envvar="ROOST_SERVER", help="Where discovery is; several replicas with commas."),
]


def add_commands(app: typer.Typer) -> None:
    """Put the operators' commands on the command line."""
    for command in (status, drain, rebalance):
        app.command(rich_help_panel="Operate")(command)


def status(
    server: Server = DISCOVERY_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; with --watch, a line each time.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second, until Ctrl-C.")] = False,
) -> None:
    """Show every part: where it is, how full, how late, how old, and what it has counted.

    Yellow is what an operator may want to look at. Exit code 1 when no replica of discovery answers.
    """
    replicas = _replicas(server)
    replies = asyncio.run(replicas.components())
    console = Console(width=None if sys.stdout.isatty() else WIDE_COLUMNS, highlight=False)
    try:
        if watch and not as_json and sys.stdout.isatty():
            with Live(table(replies), console=console, auto_refresh=False, screen=True) as live:
                while True:
                    asyncio.run(SYSTEM_CLOCK.sleep(WATCH_S))
                    live.update(table(asyncio.run(replicas.components())), refresh=True)
        while True:
            if as_json:
                typer.echo(json.dumps(_as_json(replies), indent=None if watch else 2))
            else:
                console.print(table(replies))
            if not watch:
                break
            asyncio.run(SYSTEM_CLOCK.sleep(WATCH_S))
            replies = asyncio.run(replicas.components())
    except KeyboardInterrupt:
        return
    _fail_without(replies)


def drain(
    gateway: Annotated[
        str, typer.Argument(metavar="GATEWAY", help="Its address, such as ws://host:9001, or its incarnation.")
    ],
    server: Server = DISCOVERY_URL,
    window_s: Annotated[
        float,
        typer.Option(min=0, max=3600, envvar="ROOST_WINDOW_S", help="Seconds over which its clients are sent away."),
    ] = 30.0,
    undo: Annotated[bool, typer.Option("--undo", help="Let it take clients again.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also when its clients have nowhere to go: no other gateway takes them.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Return when it is empty.")] = True,
) -> None:
    """Move a gateway's clients to others, and let nobody in: before its machine is taken away, say.

    Each client is told where to go and has a place there. The process goes on, empty, until it is stopped or brought
    back with --undo. Needs ROOST_ADMIN_TOKEN.
    """
    replicas = _replicas(server)
    body = {"gateway": gateway, "window_s": window_s, "undo": undo, "force": force}
    replies = _order(replicas, "v1/drain", body)
    found = next(reply.body for reply in replies if reply.body is not None)
    name, load = printable(str(found["gateway"])), int(found["load"])
    if undo:
        typer.echo(f"{name} takes clients again, from its next beat on")
        return
    typer.echo(f"{name} sends its {load:,} client(s) away within {window_s:g} s")
    if wait and not asyncio.run(_until_empty(replicas, str(found["incarnation"]), window_s + SLACK_S)):
        typer.echo(f"Error: {name} is not empty yet: look at roost status", err=True)
        raise typer.Exit(EXIT_FAILED)
    if wait:
        typer.echo(f"{name} is empty")


def rebalance(server: Server = DISCOVERY_URL) -> None:
    """Make all gateways equally full now, at a gentle pace, instead of when the difference is large.

    Clients are told where to go; nobody is cut off. Needs ROOST_ADMIN_TOKEN.
    """
    replies = _order(_replicas(server), "v1/rebalance", {})
    to_move = max(int(reply.body["to_move"]) for reply in replies if reply.body is not None)
    typer.echo(f"{to_move:,} clients are to move" if to_move else "all gateways are equally full")


def _replicas(server: str) -> Replicas:
    try:
        return Replicas(separate([server]))
    except BadInput as problem:
        raise typer.BadParameter(problem.message, param_hint="--server") from problem


def _order(replicas: Replicas, path: str, body: dict[str, Any]) -> list[Reply]:
    """What all replicas said; ends the command when none of them does it."""
    token = admin_token()
    if not token.value:
        typer.echo(f"Error: set {ADMIN_VARIABLE} to the token that discovery was started with", err=True)
        raise typer.Exit(EXIT_USAGE)
    replies = asyncio.run(replicas.order(path, token.headers(), body))
    _fail_without(replies)
    return replies


def _fail_without(replies: Sequence[Reply]) -> None:
    """Say what was wrong with each replica, and end the command when it was all of them."""
    for reply in replies:
        if reply.body is None:
            typer.echo(f"{printable(reply.url)}: {printable(reply.problem)}", err=True)
    if all(reply.body is None for reply in replies):
        raise typer.Exit(EXIT_FAILED)


def _as_json(replies: Sequence[Reply]) -> dict[str, Any]:
    discovery = [{"url": reply.url, "answers": reply.body is not None, "problem": reply.problem} for reply in replies]
    return {"discovery": discovery, "components": merge(replies)}


async def _until_empty(replicas: Replicas, incarnation: str, within_s: float) -> bool:
    """Whether the gateway said so within this time; one that is gone is empty, too."""
    deadline = SYSTEM_CLOCK.monotonic() + within_s
    while SYSTEM_CLOCK.monotonic() < deadline:
        replies = await replicas.components()
        parts = [part for part in merge(replies) if part["incarnation"] == incarnation]
        if any(reply.body is not None for reply in replies) and not any(
            part["load"] or not part["draining"] for part in parts
        ):
            return True
        await SYSTEM_CLOCK.sleep(WATCH_S / 4)
    return False
