"""``python -m bench NAME``: benchmarks of Roost, beside other software where there is any."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from bench.before import TURNS, compare

OUT = Path(__file__).resolve().parent / "out"

BENCHES = {
    "compare.hold": "what an idle connection costs, beside other servers",
    "compare.echo": "messages per second, beside other servers",
    "compare.accept": "processor time for an accepted connection, beside other servers",
    "compare.keepalive": "processor time for keeping an idle connection alive, beside a bare loop that only pings",
    "compare.crawl": "pages per second and per second of processor time, beside Scrapy; fails when a crawl asks twice",
    "compare.choice": "how evenly strategies distribute a connect storm over gateways, simulated; writes a plot",
    "load.takeover": "how long a job waits for another master after kill -9, and which pages are fetched twice",
    "load.lock": "lock decisions per second on PostgreSQL, also with many finished jobs stored",
    "load.hostile": "whether well-behaved clients are affected by attackers of every kind; fails when they are",
    "load.leave": "whether a gateway drains its clients evenly after SIGTERM; fails when not",
    "load.users": "whether 50,000 locust users stay connected, get their jobs and come back; fails when not",
    "load.rolling": "whether clients or jobs are affected by a rolling restart of all gateways; fails when they are",
    "load.upgrade": "whether clients or jobs are affected by a rolling upgrade of all parts; fails when they are",
    "load.rush": "all clients connect at once, then a gateway and discovery are killed; fails when a goal is missed",
    "compare.wire": "bytes and time of messages in JSON, Protocol Buffers and as Roost sends them",
}

COMPARES_ITSELF = "lock"
"""Its option ``--before`` measures both versions over one database server."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one benchmark and publish its report; exit status 1 when a goal was missed."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__, allow_abbrev=False)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    modules = {}
    for path, text in BENCHES.items():
        module = import_module(f"bench.{path}")
        name = path.partition(".")[2]
        modules[name] = module
        options = names.add_parser(name, help=text, description=module.__doc__, allow_abbrev=False)
        options.add_argument(
            "--json", type=Path, default=OUT / f"{name}.json", metavar="FILE", help="where the figures are written, too"
        )
        if name != COMPARES_ITSELF:
            options.add_argument(
                "--before", type=Path, metavar="DIR", help="run it in this checkout too, in turns, and compare"
            )
            options.add_argument("--turns", type=int, default=TURNS, help=f"with --before: how many [{TURNS}]")
        module.add_options(options)
    asked = list(sys.argv[1:] if arguments is None else arguments)
    given = parser.parse_args(asked)
    if given.name == COMPARES_ITSELF or given.before is None:
        report = modules[given.name].run(given)
    else:
        report = compare(given.name, _without(asked[1:], "--before", "--turns", "--json"), given.before, given.turns)
    report.publish(given.json)
    if report.has_failed:
        sys.exit(1)


def _without(arguments: Sequence[str], *options: str) -> list[str]:
    """The arguments without these options and their values."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in options:
            next(rest, None)
        elif argument.partition("=")[0] not in options:
            kept.append(argument)
    return kept


if __name__ == "__main__":
    main()
