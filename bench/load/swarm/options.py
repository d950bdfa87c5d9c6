"""The options that `bench/load/locustfile.py` adds to locust's own.

Each can also be set by a ROOST_ variable and, except for ``--sources`` and ``--outcome``, in locust's web page. Those
two are read when a process starts: each process has source addresses of its own, and a web page must not choose which
file is written.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from locust.argument_parser import LocustArgumentParser

from bench.load.swarm.client_connection import where
from bench.load.swarm.idler import UNIQUE, Habits
from bench.load.swarm.phases import Plan

SPAWN_RATE = 500.0
"""Users started per second when locust's own option ``--spawn-rate`` is not given."""


def add_options(parser: LocustArgumentParser) -> None:
    """Add the options to locust's command line."""

    def add(name: str, default: Any, text: str, **more: Any) -> None:
        shown = text.replace("%", "%%") + (f" [{default}]" if default not in ("", False) else "")
        variable = "ROOST_" + name.upper().replace("-", "_")
        if not isinstance(default, bool):
            more.setdefault("type", type(default))
        parser.add_argument(f"--{name}", default=default, help=shown, env_var=variable, **more)

    add("hold-s", 300.0, "seconds for which all users are held once they are connected")
    add("storm", "none", "then cut the connections of: none, one or all gateways", choices=["none", "one", "all"])
    add("outage", False, "then wait until all gateways were killed and every user has reconnected", action="store_true")
    add("patience-s", 300.0, "seconds within which all users must be connected after the ramp, a storm or an outage")
    add("job-every-s", 0.0, "mean seconds between two jobs of a user; 0: no jobs")
    add("job-kind", Habits.kind, "kind of those jobs")
    add("job-spec", Habits.spec, f"spec of those jobs as JSON; {UNIQUE} is replaced by a text that no other job has")
    add("ping-every-s", 300.0, "mean seconds between two pings that a user sends; 0: no pings")
    add("sources", "", "local IPv4 addresses to connect from in turn, separated by commas", include_in_web_ui=False)
    add("outcome", "", "file to which the outcome is written as JSON", include_in_web_ui=False)


def plan(options: argparse.Namespace) -> Plan:
    """Return the plan of the test that these options describe."""
    return Plan(
        users=options.num_users or 1,
        rate=options.spawn_rate or SPAWN_RATE,
        hold_s=options.hold_s,
        storm=options.storm,
        has_outage=options.outage,
        patience_s=options.patience_s,
    )


def replicas(host: str | None) -> list[str]:
    """Return the URLs of discovery in locust's host option."""
    return [url.strip() for url in (host or "").split(",") if url.strip()]


def what_is_wrong(options: argparse.Namespace, discovery: list[str]) -> str:
    """Return why a test with these options cannot work; an empty text when it can."""
    if not discovery:
        return "say where discovery is: --host http://HOST:PORT, of several replicas with commas between them"
    try:
        for url in discovery:
            where(url)
    except (OSError, ValueError) as problem:
        return f"--host: {problem}"
    try:
        json.loads(options.job_spec.replace(UNIQUE, "x"))
    except ValueError as problem:
        return f"--job-spec is not JSON: {problem}"
    if min(options.hold_s, options.patience_s, options.job_every_s, options.ping_every_s) < 0:
        return "times must not be negative: --hold-s, --patience-s, --job-every-s, --ping-every-s"
    return ""


def habits(options: argparse.Namespace) -> Habits:
    """Return what users do besides idling."""
    return Habits(options.job_every_s, options.ping_every_s, options.job_kind, options.job_spec)
