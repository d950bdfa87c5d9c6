"""Parses the command line of ``python -m roost.gateway``: every setting is an option and a ``ROOST_…`` variable."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from importlib import import_module
from typing import Any

from roost.discovery.core.labels import read_labels
from roost.gateway.admission.access import Access
from roost.gateway.api import Application
from roost.gateway.process.per_process import check_processes, port_of, public_url_of, settings_of
from roost.gateway.settings import LIMITS, SECURITY, Settings
from roost.wire.auth import InternalSecret
from roost.wire.errors import Misuse
from roost.wire.guards import refuse_exposed
from roost.wire.variables import read_switch, variable

_ABOUT = """\
Hold WebSocket connections for an application.

  python -m roost.gateway --app roost.gateway.examples.echo:Echo --no-discovery
  python -m roost.gateway --app my.module:MyApp --discovery http://127.0.0.1:8000 --public-url ws://gw1.example:9001

The application is a class with the callbacks of roost.gateway.api.Application. SIGTERM and Ctrl-C close every
client with code 1012, spread over the drain window, and end the process; a second signal ends it at once.
Every option can be given as a variable too: --ping-after-s is ROOST_PING_AFTER_S.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the process, in addition to the gateway's settings."""

    app: str
    settings: Settings
    discovery: tuple[str, ...]
    public_url: str
    labels: dict[str, str]
    admin_host: str
    admin_port: int | None
    keys: str
    secret: str
    access: Access
    processes: int
    log_level: str
    log_style: str


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Parse options and variables. Exits with status 2 and an error message when they are invalid."""
    parser = argparse.ArgumentParser(
        "python -m roost.gateway", formatter_class=_Formatter, description=_ABOUT, allow_abbrev=False
    )
    try:
        _add_process(parser.add_argument_group("process"))
        groups = {name: parser.add_argument_group(name) for name in (SECURITY, LIMITS)}
        for item in (*fields(Access), *fields(Settings)):
            assert item.default is not MISSING
            _add(groups[item.metadata["group"]], item.name, type(item.default), item.default, item.metadata["why"])
        return _options(vars(parser.parse_args(arguments)))
    except Misuse as problem:
        parser.error(str(problem))


def _add_process(process: Any) -> None:
    _add(process, "app", str, "", "the application, module:Class", metavar="MODULE:CLASS")
    _add(process, "discovery", str, "", "base URLs of discovery's replicas, separated by commas", metavar="URL")
    process.add_argument("--no-discovery", action="store_true", help="run without discovery")
    _add(process, "public_url", str, "", "URL that clients are told to connect to (ws://HOST:PORT)", metavar="URL")
    process.add_argument(
        "--label",
        action="append",
        metavar="NAME=VALUE",
        help="label that clients can prefer, such as zone=a; may be repeated",
    )
    _add(process, "admin_host", str, "127.0.0.1", "address of /health, /ready and /metrics")
    _add(process, "admin_port", int, None, "port of /health, /ready and /metrics; 0 picks one; not served without it")
    _add(process, "keys", str, "", "signing keys of tickets, name:secret, separated by commas, the newest first")
    _add(process, "secret", str, "", "shared secret of HTTP between components")
    _add(
        process, "processes", int, 1, "processes; each has a port of its own, counted up, unless --shared-port is given"
    )
    _add(process, "log_level", str, "INFO", "lowest log level shown")
    _add(process, "log_style", str, "plain", "plain or json")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=120)


def _add(group: Any, name: str, kind: type, default: Any, text: str, metavar: str | None = None) -> None:
    if kind is bool:
        group.add_argument(
            "--" + name.replace("_", "-"), action="store_true", default=read_switch(name, os.environ), help=text
        )
        return
    shown = "" if default in ("", None) else f" [{default}]"
    group.add_argument(
        "--" + name.replace("_", "-"),
        type=kind,
        default=os.environ.get(variable(name))
        or default,  # an empty variable counts as not set, as for the roost command
        help=text.replace("%", "%%") + shown,
        metavar=metavar or kind.__name__.upper(),
    )


def _options(given: dict[str, Any]) -> Options:
    settings = Settings(**{item.name: given.pop(item.name) for item in fields(Settings)})
    access = Access(**{item.name: given.pop(item.name) for item in fields(Access)})
    alone = given.pop("no_discovery")
    discovery = tuple(url.strip() for url in given.pop("discovery").split(",") if url.strip())
    written = given.pop("label") or os.environ.get(variable("label"), "").split(",")
    given["labels"] = read_labels(label for label in written if label)
    if not given["app"]:
        raise Misuse("say which application to run: --app roost.gateway.examples.echo:Echo")
    if not discovery and not alone:
        raise Misuse("say where discovery is (--discovery URL), or --no-discovery to run alone")
    if access.require_ticket and not given["keys"]:
        raise Misuse("--require-ticket needs the --keys that sign tickets")
    checks_tickets = bool(given["keys"]) and not alone
    check_processes(given["processes"], settings, access, given["public_url"], checks_tickets=checks_tickets)
    if not alone:
        admin_hosts = [given["admin_host"]] if given["admin_port"] is not None else []
        refuse_exposed(InternalSecret(given["secret"]), settings.host, *admin_hosts)
    return Options(settings=settings, access=access, discovery=() if alone else discovery, **given)


def of_process(options: Options, index: int) -> Options:
    """Return the options of one of several processes: its ports are counted up, except those that are 0 or shared."""
    return replace(
        options,
        settings=settings_of(options.settings, index),
        public_url=public_url_of(options.public_url, options.settings, index),
        admin_port=None if options.admin_port is None else port_of(options.admin_port, index),
    )


def load_application(name: str) -> Application:
    """Create the application ``module:Class``. Raises Misuse when it cannot be loaded."""
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as problem:
        raise Misuse(f"no application {name}: {problem}") from problem
    app = factory()
    if not callable(getattr(app, "on_message", None)):
        raise Misuse(f"{name} has no on_message: see roost.gateway.api.Application")
    return app  # type: ignore[no-any-return]
