"""Shared code of the serving commands: secrets from the environment, service groups, and errors in one line."""

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
    """Whether ROOST_KEYS is set."""
    return bool(os.environ.get("ROOST_KEYS"))


def keys() -> Keyring:
    """The signing keys in ROOST_KEYS; without it a random key, and a warning on standard error. Raises Misuse."""
    if keys_given():
        return Keyring.from_text(os.environ["ROOST_KEYS"])
    typer.echo(
        "ROOST_KEYS is not set: a random key is used, and other processes will reject this process's tickets and "
        "sessions",
        err=True,
    )
    return Keyring.random()


def secret() -> InternalSecret:
    """The secret that components share, from ROOST_SECRET."""
    return InternalSecret(os.environ.get("ROOST_SECRET", ""))


def admin_token() -> AdminToken:
    """The admin token of operators, from ROOST_ADMIN_TOKEN."""
    return AdminToken(os.environ.get(ADMIN_VARIABLE, ""))


def separate(values: Iterable[str]) -> list[str]:
    """The single values of an option that is repeated, or is given by a variable with commas or spaces."""
    return [single for value in values for single in value.replace(",", " ").split()]


def check_component(
    name: str, *, host: str = LOOPBACK, admin_host: str = LOOPBACK, admin_port: int | None = None
) -> None:
    """Raise Misuse when a component must not start in this environment or on these addresses (`roost.wire.guards`)."""
    refuse_unapplied(name, os.environ)
    refuse_exposed(secret(), host, *([] if admin_port is None else [admin_host]))


def group_of(
    services: list[Service], admin_host: str, admin_port: int | None, drain_s: float = DRAIN_S
) -> ServiceGroup:
    """The services as a group. With `admin_port`, an admin server starts before them, so that it can report on them."""
    if admin_port is None:
        return ServiceGroup(services, drain_s)
    group = ServiceGroup([AdminHttp(admin_host, admin_port, lambda: group.ready), *services], drain_s)
    return group


def checked(make: Callable[[], T]) -> T:
    """Return the result of `make`; when its settings cannot work, end the command with status 2."""
    try:
        return make()
    except (Misuse, BadInput) as problem:
        typer.echo(f"Error: {problem}", err=True)
        raise typer.Exit(EXIT_USAGE) from None


def serve(group: ServiceGroup, on_ready: Callable[[], None]) -> None:
    """Run the group until a signal ends the process. When it cannot start, end the command with status 1."""
    status = serve_until_signal(group, on_ready)
    if status:
        raise typer.Exit(status)


def serve_until_signal(group: ServiceGroup, on_ready: Callable[[], None]) -> int:
    """Run the group until a signal ends the process, and return the exit status; for a process that was forked."""
    try:
        failpoints.arm(os.environ.get(failpoints.VARIABLE, ""))
    except Misuse as problem:
        typer.echo(f"Error: {problem}", err=True)
        return EXIT_USAGE
    try:
        run(group, on_ready)
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
    failure = problem.strerror.partition(": ")[0]
    if problem.errno == errno.EADDRINUSE:
        return (
            f"{failure}: address already in use: stop the other program or choose another port "
            "(--port, for a gateway --gateway-port)"
        )
    return f"{failure}: {os.strerror(problem.errno or 0).lower()}"
