"""``python -m bench NAME``: measurements of Roost, side by side with others where there are any."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

OUT = Path(__file__).resolve().parent / "out"

BENCHES = {
    "hold": "what an idle connection costs, beside other servers",
    "echo": "messages per second, beside other servers",
    "accept": "processor time for an accepted connection, beside other servers",
    "keepalive": "processor time for keeping an idle connection alive, beside a bare loop that only pings",
    "crawl": "pages per second and per second of processor time, beside Scrapy; fails when a crawl asks twice",
    "choice": "how evenly rules spread a storm of clients over gateways, simulated; writes a plot",
    "takeover": "how long a job waits for another master after kill -9, and which pages are fetched twice",
    "lock": "lock decisions per second on PostgreSQL, also with many finished jobs stored",
    "hostile": "whether honest clients notice attackers of every kind; fails when they do",
    "leave": "whether clients are sent away gently when a gateway is told to end; fails when not",
    "users": "whether 50,000 locust users stay connected, get their jobs and come back; fails when not",
    "rolling": "whether clients or jobs feel that every gateway is restarted; fails when they do",
    "rush": "everybody at once through discovery, a gateway killed, discovery killed; fails when not all is well",
    "wire": "bytes and time of messages in JSON, Protocol Buffers and as they are",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one benchmark and publish what it found; status 1 when that is not what had to be shown."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, text in BENCHES.items():
        options = names.add_parser(name, help=text, description=import_module(f"bench.{name}").__doc__)
        options.add_argument(
            "--json", type=Path, default=OUT / f"{name}.json", metavar="FILE", help="where the figures are written, too"
        )
        import_module(f"bench.{name}").add_options(options)
    given = parser.parse_args(arguments)
    report = import_module(f"bench.{given.name}").run(given)
    report.publish(given.json)
    if report.has_failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
