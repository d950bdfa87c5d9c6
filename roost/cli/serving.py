"""What the serving commands have in common: secrets of the environment, a stack of parts, and errors in one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import TypeVar

import typer

from roost.allinone import LOOPBACK
from roost.wire import failpoints
from roost.wire.auth import AdminToken, InternalSecret
from roost.wire.errors import BadInput, Misuse, Unavailable
from roost.wire.guards import refuse_exposed, refuse_unapplied
from roost.wire.service import DRAIN_S, AdminHttp, Service, ServiceGroup, run
from roost.wire.tokens import Keyring

DISCOVERY_URL = "http://127.0.0.1:8000"
ADMIN_VARIABLE = "ROOST_ADMIN_TOKEN"
EXIT_FAILED, EXIT_USAGE = 1, 2
T = TypeVar("T")


def keys_given() -> bool:
    """Whether the environment has signing keys."""
    return bool(os.environ.get("ROOST_KEYS"))


def keys() -> Keyring:
    """The signing keys of the environment; random ones, and a warning, where it has none. Raises Misuse."""
    if keys_given():
        return Keyring.from_text(os.environ["ROOST_KEYS"])
    typer.echo("no ROOST_KEYS: tickets and sessions of this process mean nothing to any other", err=True)
    return Keyring.random()


def secret() -> InternalSecret:
    """What parts show each other, by the environment."""
    return InternalSecret(os.environ.get("ROOST_SECRET", ""))


def admin_token() -> AdminToken:
    """What makes an operator, by the environment."""
    return AdminToken(os.environ.get(ADMIN_VARIABLE, ""))


def separate(values: Iterable[str]) -> list[str]:
    """The single values of an option that may be repeated, or comes from a variable with commas or spaces in it."""
    return [single for value in values for single in value.replace(",", " ").split()]


def check_part(part: str, *, host: str = LOOPBACK, admin_host: str = LOOPBACK, admin_port: int | None = None) -> None:
    """Raise Misuse when a part must not start in this environment, or at these addresses (`roost.wire.guards`)."""
    refuse_unapplied(part, os.environ)
    refuse_exposed(secret(), host, *([] if admin_port is None else [admin_host]))


def stack_of(parts: list[Service], admin_host: str, admin_port: int | None, drain_s: float = DRAIN_S) -> ServiceGroup:
    """The parts, behind an admin port where one is wanted: the first to start, so that it tells of the others."""
    if admin_port is None:
        return ServiceGroup(parts, drain_s)
    stack = ServiceGroup([AdminHttp(admin_host, admin_port, lambda: stack.ready), *parts], drain_s)
    return stack


def checked(make: Callable[[], T]) -> T:
    """What `make` makes; settings that cannot work end the command with status 2."""
    try:
        return make()
    except (Misuse, BadInput) as problem:
        typer.echo(f"Error: {problem}", err=True)
        raise typer.Exit(EXIT_USAGE) from None


def serve(stack: ServiceGroup, on_ready: Callable[[], None]) -> None:
    """Run until a signal ends it; whatever keeps the stack from starting ends the command with status 1."""
    status = serve_until_signal(stack, on_ready)
    if status:
        raise typer.Exit(status)


def serve_until_signal(stack: ServiceGroup, on_ready: Callable[[], None]) -> int:
    """The same as an exit status, for a process that was forked."""
    try:
        failpoints.arm(os.environ.get(failpoints.VARIABLE, ""))
    except Misuse as problem:
        typer.echo(f"Error: {problem}", err=True)
        return EXIT_USAGE
    try:
        run(stack, on_ready)
    except (OSError, Unavailable, Misuse) as problem:
        typer.echo(f"Error: {_advice(problem)}", err=True)
        return EXIT_FAILED
    return 0


def _advice(problem: Exception) -> str:
    """What went wrong and, where it is known, what to do."""
    if not isinstance(problem, OSError) or not problem.strerror:
        return str(problem)
    if not problem.strerror.startswith("cannot listen on ") or (problem.errno or 0) <= 0:
        return problem.strerror
    place = problem.strerror.partition(": ")[0]
    if problem.errno == errno.EADDRINUSE:
        return f"{place}: a program does already; end it, or choose another port: --port, for a gateway --gateway-port"
    return f"{place}: {os.strerror(problem.errno or 0).lower()}"
