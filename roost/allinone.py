"""Runs everything in one process: discovery, a gateway, a lock server, a master and a worker, with embedded engines.

The components work exactly as in separate processes: they find each other through discovery, speak HTTP and WebSocket
over loopback, and take jobs from the broker.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from roost.backend.assembly import Site, gateway_parts, lock_parts, master_parts, worker_parts
from roost.backend.engines import Engines, EngineUrls
from roost.backend.kinds.registry import Kinds, load
from roost.backend.store.port import StoreLimits
from roost.discovery.core.client_tickets import ClientTicketLimits
from roost.discovery.server import Discovery
from roost.gateway.admission.access import OPEN, Access
from roost.gateway.process.sighup import Hangup
from roost.gateway.server import Server
from roost.gateway.settings import Settings
from roost.wire.auth import NO_ADMIN, AdminToken, InternalSecret
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.errors import Misuse
from roost.wire.origins import AllowedOrigins
from roost.wire.service import DRAIN_S, Service, ServiceGroup
from roost.wire.tokens import Keyring
from roost.wire.version import VERSION

LOOPBACK = "127.0.0.1"
KEY_BYTES = 32
BESIDE_GATEWAY_S = 2.0
"""Seconds that the other services need to drain when the gateway's drain window is over."""


@dataclass(frozen=True, slots=True)
class UpSettings:
    """Settings of a whole system in one process.

    `port` is discovery's port; ports of 0 pick free ones. Without the folder `data`, jobs and results are lost when the
    process ends. Discovery and the gateway listen on `host`; `public_url` is how clients reach the gateway, if that
    differs.
    """

    host: str = LOOPBACK
    port: int = 0
    gateway_port: int = 0
    public_url: str = ""
    data: Path | None = None
    master_slots: int = 64
    worker_slots: int = 64
    live_requests: int = 1
    kinds: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of job kinds, by the kind's name."""
    gateway: Settings = field(default_factory=Settings)
    """The gateway's settings. The host and ports above replace its own; discovery uses its allowed origins, too."""
    access: Access = OPEN
    callers: ClientTicketLimits = field(default_factory=ClientTicketLimits)
    admin: AdminToken = NO_ADMIN


class System:
    """All services of the system, assembled but not started. Raises Misuse for settings that cannot work."""

    def __init__(self, settings: UpSettings, kinds: Kinds | None = None) -> None:
        store, keys = ":memory:", Keyring.random()
        if settings.data is not None:
            store, keys = _open_folder(settings.data)
        limits = StoreLimits(live_requests=settings.live_requests)
        secret = InternalSecret(secrets.token_hex(16))
        self.discovery = Discovery(
            settings.host,
            settings.port,
            keys,
            secret=secret,
            admin=settings.admin,
            limits=settings.callers,
            origins=AllowedOrigins(settings.gateway.allow_origins),
        )
        site = Site(
            discovery=lambda: [self.discovery.url],
            keys=keys,
            engines=Engines(EngineUrls(store=f"sqlite:{store}"), limits),
            kinds=kinds or load(settings.kinds),
            limits=limits,
            secret=secret,
            version=VERSION,
        )
        gateway_settings = replace(settings.gateway, host=settings.host, port=settings.gateway_port)
        access = settings.access
        gateway, self._server = gateway_parts(
            site, gateway_settings, settings.public_url, access.require_ticket, access.bearer(SYSTEM_CLOCK)
        )
        claim: list[Service] = [] if settings.data is None else [Claim(settings.data)]
        services: list[Service] = [
            *claim,
            self.discovery,
            *lock_parts(site, LOOPBACK, 0),
            *worker_parts(site, settings.worker_slots, settings.options),
            *master_parts(site, settings.master_slots),
            *gateway,
        ]
        if gateway_settings.tls_cert:
            services.append(Hangup(self._server.reload))
        self.stack = ServiceGroup(services, drain_s(gateway_settings))

    @property
    def url(self) -> str:
        """Discovery's URL, which clients use; known once started."""
        return self.discovery.url

    @property
    def gateway(self) -> Server:
        """The gateway, for callers that read its counters."""
        return self._server


def drain_s(gateway: Settings) -> float:
    """Seconds for the whole drain of a process with this gateway: its own window, plus time for the other services."""
    return max(DRAIN_S, gateway.drain_s + BESIDE_GATEWAY_S)


class Claim:
    """A service that locks a data folder while it runs. `start` raises Misuse when another process has the lock.

    Two systems over one store would run each other's jobs, each with its own settings, and answer late.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: int | None = None

    async def start(self) -> None:
        held = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            raise Misuse(f"{self._folder} is in use by another roost up: end it, or choose another folder") from None
        self._held = held

    async def drain(self) -> None:
        """Do nothing: the folder stays locked until `stop`."""

    async def stop(self) -> None:
        """Unlock the folder. The file stays, because removing it could break a lock that another process just took."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


@contextlib.asynccontextmanager
async def all_in_one(settings: UpSettings, kinds: Kinds | None = None) -> AsyncIterator[System]:
    """Start the whole system, and stop it when the block ends."""
    system = System(settings, kinds)
    await system.stack.start()
    try:
        yield system
    finally:
        await system.stack.stop()


def _open_folder(folder: Path) -> tuple[str, Keyring]:
    """The store's path and the signing keys of a data folder; both folder and keys are made when missing."""
    keys = folder / "keys"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not keys.exists():
            new = folder / "keys.new"
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(f"k1:{secrets.token_urlsafe(KEY_BYTES)}\n")
            new.rename(keys)  # a process that is killed here leaves no half-written keys
        return str(folder / "jobs.db"), Keyring.from_text(keys.read_text().strip())
    except OSError as problem:
        raise Misuse(f"cannot keep data in {folder}: {problem.strerror}") from problem
    except Misuse as problem:
        raise Misuse(f"cannot use the signing keys in {keys}: {problem}") from problem
