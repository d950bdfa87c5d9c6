"""Configuration of several gateway processes: checks before the fork, and the ports and URLs of each process."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from roost.gateway.admission.access import Access
from roost.gateway.io.tls import Tls
from roost.gateway.settings import Settings, capacity
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.errors import Misuse
from roost.wire.public_url import checked_public_url

LAST_PORT = 65_535
END_MARGIN_S = 3.0
"""Time for a process to exit after its drain window, before it is killed."""


def check_processes(count: int, settings: Settings, access: Access, public_url: str, *, checks_tickets: bool) -> None:
    """Raise Misuse for settings with which no process can start.

    `checks_tickets`: discovery sends clients with tickets, which the processes verify.

    Without this check each child would fail at startup and be restarted again and again.
    """
    if count < 1:
        raise Misuse("--processes must be at least 1")
    checked_public_url(public_url, "ws", "wss")
    if count > 1 and settings.shared_port and not settings.port:
        raise Misuse("--shared-port needs a port of its own: --port, or --gateway-port of roost, and not 0")
    if count > 1 and settings.shared_port and (checks_tickets or access.require_ticket):
        raise Misuse(
            "--shared-port does not go with tickets: discovery's ticket opens one process, and the kernel picks one; "
            "leave it out, and each process has a port of its own"
        )
    if not settings.shared_port and settings.port and settings.port + count - 1 > LAST_PORT:
        raise Misuse(
            f"{count} processes from port {settings.port} on need ports beyond {LAST_PORT}: begin with a lower one"
        )
    if count > 1 and public_url and not settings.shared_port and urlsplit(public_url).port is None:
        raise Misuse(
            "--public-url needs a port when there are several --processes: it is counted up as their ports are"
        )
    access.bearer(SYSTEM_CLOCK)
    if settings.tls_cert:
        Tls(settings.tls_cert, settings.tls_key)
    capacity(settings.max_connections)


def settings_of(settings: Settings, index: int) -> Settings:
    """Return the settings of one of several processes: its port is counted up, unless it is 0 or shared."""
    return settings if settings.shared_port else replace(settings, port=port_of(settings.port, index))


def port_of(port: int, index: int) -> int:
    """Return the port of one of several processes; 0 means that each picks a free one."""
    return port + index if port else port


def public_url_of(public_url: str, settings: Settings, index: int) -> str:
    """Return the public URL of one of several processes: its port is counted up like the listening port."""
    if not public_url or settings.shared_port or not index:
        return public_url
    parts = urlsplit(public_url)
    assert parts.port is not None
    host = parts.netloc.rpartition(":")[0]
    return parts._replace(netloc=f"{host}:{parts.port + index}").geturl()
