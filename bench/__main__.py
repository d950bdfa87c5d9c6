"""``python -m bench NAME``: benchmarks of Roost, beside other software where there is any."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

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
    "load.rush": "all clients connect at once, then a gateway and discovery are killed; fails when a goal is missed",
    "compare.wire": "bytes and time of messages in JSON, Protocol Buffers and as Roost sends them",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one benchmark and publish its report; exit status 1 when a goal was missed."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    modules = {}
    for path, text in BENCHES.items():
        module = import_module(f"bench.{path}")
        name = path.partition(".")[2]
        modules[name] = module
        options = names.add_parser(name, help=text, description=module.__doc__)
        options.add_argument(
            "--json", type=Path, default=OUT / f"{name}.json", metavar="FILE", help="where the figures are written, too"
        )
        module.add_options(options)
    given = parser.parse_args(arguments)
    report = modules[given.name].run(given)
    report.publish(given.json)
    if report.has_failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
