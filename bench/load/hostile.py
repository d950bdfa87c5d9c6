"""``python -m bench hostile``: are well-behaved clients affected by attackers on the same gateway?

Well-behaved clients (`bench.support.clients.echo_clients`), each with its own source address, request an echo once a
second: first without attackers, then beside attackers of every kind (`bench.load.attacks`), all at the same time. The
gateway runs with its default limits, but its limits per address apply to loopback, too. No well-behaved client may see
an error or miss an echo, and 99 % of the echoes must arrive within 50 ms. The attacks must really have taken place, or
nothing has been shown.

On a busy machine both sides wait for the processor; the report says for how long. ``chrt -r 1 python -m bench hostile``
(as root) gives the gateway and the well-behaved clients priority over the attackers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.load.attacker import Attacks
from bench.load.attacks import BEGUN, CONNECTS_PER_S, FLOOD, KINDS
from bench.report import Report
from bench.support import gateways, processes
from bench.support.clients.echo_clients import Found
from bench.support.gateways import Gateway

P99_MS = 50.0
REACHED = 0.9
"""Least share of the planned connects per second; below it the machine was too slow for the attack."""

PER_ADDRESS = 100
LIMITS = ("--count-loopback", "--max-per-address", str(PER_ADDRESS))
WARM_UP_S = 2.0
"""Seconds of attacks before the well-behaved clients are measured beside them."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--seconds", type=float, default=10.0, help="of quiet, and of attacks [10]")
    parser.add_argument("--count", type=int, default=1000, help="honest clients [1000]")


def run(options: argparse.Namespace) -> Report:
    """Measure; the report has failed when a well-behaved client was affected."""
    report = Report(f"{options.count:,} honest clients beside attackers of {len(KINDS)} kinds")
    with gateways.gateway(gateways.ECHO, *LIMITS) as gateway, _honest(gateway, options.count) as honest:
        quiet = _phase(report, "quiet", gateway, honest, options.seconds)
        with ExitStack() as stack:
            attackers = {kind: stack.enter_context(_attacker(gateway, kind)) for kind in KINDS}
            time.sleep(WARM_UP_S)
            hostile = _phase(report, "hostile", gateway, honest, options.seconds)
            attacks = {kind: _end(process) for kind, process in attackers.items()}
    judge(report, [quiet, hostile], attacks)
    report.remarks += [
        "an echo once a second from each honest client, timed from sending to reading by the client",
        "waited: ready to run, while something else had the processor (busy with attackers, or with other work)",
        f"attackers run at lower priority on the same processor; default limits, at most {PER_ADDRESS} an address",
    ]
    return report


def _phase(report: Report, name: str, gateway: Gateway, honest: subprocess.Popen[str], seconds: float) -> Found:
    print(name, file=sys.stderr, flush=True)
    pids = gateway.process.pid, honest.pid
    waited_s = [processes.waited_s(pid) for pid in pids]
    before, since_s = processes.look(gateway.process.pid), time.monotonic()
    found = Found(**json.loads(processes.tell(honest, f"run {seconds}")))
    after, phase_s = processes.look(gateway.process.pid), time.monotonic() - since_s
    waited_s = [processes.waited_s(pid) - then_s for pid, then_s in zip(pids, waited_s, strict=True)]
    report.rows.append(
        {
            "phase": name,
            "echoes": len(found.latencies_ms),
            "errors": found.errors,
            "unanswered": found.unanswered,
            **{f"p{share:g} ms": found.quantile_ms(share / 100) for share in (50, 99, 99.9)},
            "max ms": found.quantile_ms(1),
            "gateway busy %": after.cpu.since(before.cpu).total_s / phase_s * 100,
            "gateway waited %": waited_s[0] / phase_s * 100,
            "clients waited %": waited_s[1] / phase_s * 100,
            "own MiB": after.own_bytes / (1 << 20),
        }
    )
    return found


def judge(report: Report, phases: list[Found], attacks: dict[str, Attacks]) -> None:
    """Add the attacks and the goals to the report; the last phase is the one with attacks."""
    for kind, found in attacks.items():
        endings = [f"{count:,} {ending}" for ending, count in found.counts.most_common() if ending != BEGUN]
        told = ", ".join(endings) or "no ending"
        report.remarks.append(f"{kind}: {found.counts[BEGUN]:,}, {found.per_s:,.0f} a second; {told}")
    report.require("no error of an honest client", not any(found.errors for found in phases))
    report.require("no message of an honest client unanswered", not any(found.unanswered for found in phases))
    report.require(f"p99 under {P99_MS:g} ms beside the attackers", phases[-1].quantile_ms(0.99) < P99_MS)
    report.require(
        f"at least {CONNECTS_PER_S * REACHED:,.0f} connects a second from one address",
        attacks[FLOOD].per_s >= CONNECTS_PER_S * REACHED,
    )
    report.require("every kind of attack took place", all(attacks[kind].counts[BEGUN] for kind in KINDS))


@contextmanager
def _honest(gateway: Gateway, count: int) -> Iterator[subprocess.Popen[str]]:
    with processes.running(
        [sys.executable, "-m", "bench.support.clients.echo_clients", str(gateway.port), str(count)]
    ) as process:
        assert processes.said(process) == "ready"
        yield process


@contextmanager
def _attacker(gateway: Gateway, kind: str) -> Iterator[subprocess.Popen[str]]:
    with processes.running([sys.executable, "-m", "bench.load.attacker", str(gateway.port), kind]) as process:
        assert processes.said(process) == "ready"
        yield process


def _end(attacker: subprocess.Popen[str]) -> Attacks:
    return Attacks.from_json(processes.tell(attacker, "end"))
