"""All settings of a gateway, each with its unit and the reason for its default.

Each gateway process has one `Settings`, which is a frozen dataclass. ``python -m gateway`` and the ``roost`` command
make their options from its fields, and from the fields of `roost.gateway.admission.access.Access`, which says what
credentials clients need: field `ping_after_s` is option ``--ping-after-s`` and variable ``ROOST_PING_AFTER_S``. The
help has two groups: security settings, and limits and times.
"""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass, field, fields
from typing import Any

from roost.wire.client_address import check_proxies
from roost.wire.errors import Misuse
from roost.wire.origins import AllowedOrigins

LIMITS, SECURITY = "limits and times", "security"

RESERVED_DESCRIPTORS = 128
"""Descriptors reserved for listeners, brokers, admin HTTP, log files and clients being refused."""

KIB = 1024


def option(default: Any, why: str, group: str = LIMITS, *, is_secret: bool = False) -> Any:
    """Return a field of a settings class: its default, its help text, and the group of the help."""
    return field(default=default, repr=not is_secret, metadata={"why": why, "group": group})


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a gateway. Times are in seconds; 0 disables a limit where the text says so.

    Creating an instance raises Misuse for invalid values.
    """

    host: str = option("127.0.0.1", "addresses to listen on, separated by commas; 0.0.0.0,:: accepts other machines")
    port: int = option(9001, "port to listen on; 0 picks a free one")
    shared_port: bool = option(False, "several processes listen on this one port (SO_REUSEPORT); see --processes")
    backlog: int = option(4096, "connections the kernel queues before accept; the usual net.core.somaxconn")
    max_connections: int = option(0, "connections held at once; 0 derives it from RLIMIT_NOFILE")
    handshake_s: float = option(5.0, "time for a whole opening handshake: ten times a slow mobile round trip")
    max_header_bytes: int = option(8 * KIB, "bytes of an opening handshake: the limit of common HTTP servers")
    max_message_bytes: int = option(64 * KIB, "bytes of one message from a client; a job's spec has under 1 KiB")
    max_fragments: int = option(256, "frames of one message; normal clients fragment by KiBs, not by bytes")
    max_message_s: float = option(30.0, "time for a whole message from its first byte; 64 KiB in 30 s is 2 KiB/s")
    max_messages_per_s: float = option(
        0.0, "messages per second of one client, with a burst of 2 s worth; 0 is no limit"
    )
    max_pings_per_s: float = option(
        10.0, "pings per second of one client, with a burst of 2 s worth; normal ones send one in 20 s"
    )
    ping_after_s: float = option(25.0, "silence before a ping: under the 30 s after which some NATs forget; 0 is never")
    pong_within_s: float = option(10.0, "time for any answer to a ping before the connection counts as dead")
    idle_close_s: float = option(1800.0, "time without a message before an idle client is closed (4300); 0 is never")
    close_s: float = option(
        5.0, "time for the peer's part of the closing handshake before the socket is closed without it"
    )
    max_outbox_bytes: int = option(1024 * KIB, "bytes that wait for one slow peer: four of the largest result parts")
    max_outbox_age_s: float = option(60.0, "time that a byte may wait for a slow peer: 1 MiB in it is 17 KiB/s")
    compression: bool = option(False, "agree to permessage-deflate, without context takeover, where clients offer it")
    compress_from_bytes: int = option(
        512, "shorter messages are sent uncompressed: compressing costs more than it saves"
    )
    max_per_address: int = option(1000, "connections of one address: a large office behind one NAT; 0 is no limit")
    count_loopback: bool = option(False, "apply max_per_address to addresses of this machine, too")
    max_accepts_per_s: float = option(0.0, "connections accepted per second; more wait in the backlog; 0 is no limit")
    tls_cert: str = option(
        "", "file with the TLS certificate and its chain (PEM); read again on SIGHUP; empty is no TLS", SECURITY
    )
    tls_key: str = option("", "file with its private key (PEM); empty when the certificate's file has it", SECURITY)
    allow_origins: str = option(
        "", "origins of web pages that may connect, separated by commas; empty is any", SECURITY
    )
    trusted_proxies: str = option(
        "", "networks of balancers whose X-Forwarded-For is trusted, separated by commas", SECURITY
    )
    proxy_protocol: bool = option(
        False, "every connection begins with a PROXY protocol v2 header; only balancers may reach this port", SECURITY
    )
    drain_s: float = option(8.0, "window over which clients are moved or closed on SIGTERM; processes usually get 10 s")
    retry_after_s: int = option(5, "seconds in the Retry-After of a full or draining gateway")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, str) and not value >= 0:
                raise Misuse(f"{item.name} is {value}: it must not be negative")
            if not isinstance(value, str) and not math.isfinite(value):
                raise Misuse(f"{item.name} is {value}: it must be finite")
        if not 0 <= self.port <= 65535:
            raise Misuse(f"port is {self.port}: it must be at most 65535")
        self._check_security()
        for name in ("handshake_s", "pong_within_s", "close_s", "max_header_bytes", "max_message_bytes", "backlog"):
            if getattr(self, name) == 0:
                raise Misuse(f"{name} must be more than 0")

    def _check_security(self) -> None:
        """Raise Misuse for a security setting that would have no effect."""
        AllowedOrigins(self.allow_origins)
        check_proxies(self.trusted_proxies)
        if self.tls_key and not self.tls_cert:
            raise Misuse("tls_key needs a tls_cert: without a certificate there is no TLS")
        if self.count_loopback and not self.max_per_address:
            raise Misuse("count_loopback has no effect while max_per_address is 0, which is no limit")


def capacity(max_connections: int) -> int:
    """Return how many connections this process can hold.

    That is `max_connections` or, when it is 0, what RLIMIT_NOFILE leaves after the reserve. Raises the soft limit to
    the hard one. Raises Misuse when more is asked for than descriptors allow.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    possible = hard - RESERVED_DESCRIPTORS
    if possible < 1 or max_connections > possible:
        raise Misuse(
            f"RLIMIT_NOFILE is {hard}: it allows {max(possible, 0)} connections beside {RESERVED_DESCRIPTORS} "
            f"descriptors in reserve, not {max_connections or 1}; raise it (ulimit -n) or ask for fewer"
        )
    return max_connections or possible
