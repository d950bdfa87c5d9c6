"""``roost status|drain|rebalance``: commands with which operators control a running system through discovery.

With several replicas, the request goes to all of them. ``drain`` and ``rebalance`` need the admin token with which
discovery was started; it is read from the environment only (ROOST_ADMIN_TOKEN).
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
"""Components send heartbeats every second."""

WIDE_COLUMNS = 200
"""Width of the table when the output is not a terminal."""

SLACK_S = 10.0
"""Time beyond its window for a gateway to become empty: the order and the report each wait for a heartbeat."""

Server = Annotated[
    str,
    typer.Option(metavar="URL", envvar="ROOST_SERVER", help="URL of discovery; several replicas with commas."),
]


def add_commands(app: typer.Typer) -> None:
    """Add the operators' commands to the command line."""
    for command in (status, drain, rebalance):
        app.command(rich_help_panel="Operate")(command)


def status(
    server: Server = DISCOVERY_URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; with --watch, one line each second.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every second, until Ctrl-C.")] = False,
) -> None:
    """Show every component: its address, load, event loop lag, age and counters.

    Values that may need attention are yellow. The exit code is 1 when no replica of discovery answers.
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
        typer.Option(min=0, max=3600, envvar="ROOST_WINDOW_S", help="Seconds over which its clients are moved."),
    ] = 30.0,
    undo: Annotated[bool, typer.Option("--undo", help="Let it accept clients again.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Drain it even if no other gateway accepts its clients.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Return when it is empty.")] = True,
) -> None:
    """Move a gateway's clients to other gateways, and send it no new ones; for example before its machine is removed.

    Each client is told where to connect, and capacity is reserved for it there. The process keeps running without
    clients until it is stopped or brought back with --undo. Needs ROOST_ADMIN_TOKEN.
    """
    replicas = _replicas(server)
    body = {"gateway": gateway, "window_s": window_s, "undo": undo, "force": force}
    replies = _order(replicas, "v1/drain", body)
    found = next(reply.body for reply in replies if reply.body is not None)
    name, load = printable(str(found["gateway"])), int(found["load"])
    if undo:
        typer.echo(f"{name} accepts clients again from its next heartbeat on")
        return
    typer.echo(f"{name} moves its {load:,} client(s) to other gateways within {window_s:g} s")
    if wait and not asyncio.run(_until_empty(replicas, str(found["incarnation"]), window_s + SLACK_S)):
        typer.echo(f"Error: {name} is not empty yet: run roost status", err=True)
        raise typer.Exit(EXIT_FAILED)
    if wait:
        typer.echo(f"{name} is empty")


def rebalance(server: Server = DISCOVERY_URL) -> None:
    """Start to make all gateways equally full now, at a limited rate, even if their difference is small.

    Clients are told where to connect; no connection is cut. Needs ROOST_ADMIN_TOKEN.
    """
    replies = _order(_replicas(server), "v1/rebalance", {})
    to_move = max(int(reply.body["to_move"]) for reply in replies if reply.body is not None)
    typer.echo(f"{to_move:,} clients will move" if to_move else "all gateways are equally full")


def _replicas(server: str) -> Replicas:
    try:
        return Replicas(separate([server]))
    except BadInput as problem:
        raise typer.BadParameter(problem.message, param_hint="--server") from problem


def _order(replicas: Replicas, path: str, body: dict[str, Any]) -> list[Reply]:
    """Send an order to all replicas and return their replies; ends the command when all of them fail."""
    token = admin_token()
    if not token.value:
        typer.echo(f"Error: set {ADMIN_VARIABLE} to the token that discovery was started with", err=True)
        raise typer.Exit(EXIT_USAGE)
    replies = asyncio.run(replicas.order(path, token.headers(), body))
    _fail_without(replies)
    return replies


def _fail_without(replies: Sequence[Reply]) -> None:
    """Print the problem of each replica that failed, and end the command when all failed."""
    for reply in replies:
        if reply.body is None:
            typer.echo(f"{printable(reply.url)}: {printable(reply.problem)}", err=True)
    if all(reply.body is None for reply in replies):
        raise typer.Exit(EXIT_FAILED)


def _as_json(replies: Sequence[Reply]) -> dict[str, Any]:
    discovery = [{"url": reply.url, "answers": reply.body is not None, "problem": reply.problem} for reply in replies]
    return {"discovery": discovery, "components": merge(replies)}


async def _until_empty(replicas: Replicas, incarnation: str, within_s: float) -> bool:
    """Wait until the gateway reports that it is empty, or is gone; False when `within_s` seconds are over."""
    deadline = SYSTEM_CLOCK.monotonic() + within_s
    while SYSTEM_CLOCK.monotonic() < deadline:
        replies = await replicas.components()
        found = [component for component in merge(replies) if component["incarnation"] == incarnation]
        if any(reply.body is not None for reply in replies) and not any(
            component["load"] or not component["draining"] for component in found
        ):
            return True
        await SYSTEM_CLOCK.sleep(WATCH_S / 4)
    return False
