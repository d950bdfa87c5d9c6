"""The attacks are real: each meets the limit of a real gateway that is there for it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.load.attacker import Attacks, attack
from bench.load.attacks import BEGUN, FLOOD, KINDS, RESET
from bench.load.hostile import judge
from bench.report import Report
from bench.support import gateways, processes
from bench.support.clients.client_bytes import upgraded
from bench.support.clients.echo_clients import EchoClients, Found
from bench.support.gateways import Gateway

pytestmark = pytest.mark.slow

SHORT = ("--handshake-s", "0.5", "--max-message-s", "0.5", "--close-s", "0.5", "--max-outbox-age-s", "0.5")
"""Limits that are met soon."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with gateways.gateway(gateways.ECHO, *SHORT, "--count-loopback") as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        ("slow handshake", "refused 408"),
        ("slow frame", "closed 1008"),
        ("endless fragments", "closed 1008"),
        ("ping flood", "closed 1008"),
        ("1 TiB header", "closed 1009"),
        ("half-close", "ended"),
        ("never reads", RESET),
    ],
)
def test_an_attack_ends_as_its_limit_wants_it(gateway: Gateway, kind: str, ending: str) -> None:
    ended = Counter[str]()
    deadline_s = time.monotonic() + 30
    with closing(KINDS[kind](gateway.port)) as steps:
        for happened in steps:
            ended[happened] += happened not in (BEGUN, "")
            assert time.monotonic() < deadline_s
            if ended.total() == 3:
                break
    assert +ended == {ending: 3}


@pytest.mark.parametrize("kind", ["reset in mid-frame", FLOOD])
def test_resets_and_floods_reach_the_gateway(gateway: Gateway, kind: str) -> None:
    before, deadline_s = gateway.metrics()["accepted_total"], time.monotonic() + 30

    def are_five_accepted() -> bool:
        assert time.monotonic() < deadline_s
        return gateway.metrics()["accepted_total"] >= before + 5

    assert attack(gateway.port, kind, are_five_accepted).counts[BEGUN] >= 5


def test_an_attacker_that_nobody_listens_to_says_so_and_goes_on() -> None:
    with gateways.gateway() as gone:
        port = gone.port
    rounds = iter(range(3))
    assert attack(port, "half-close", lambda: next(rounds, None) is None).counts == {"refused": 3}


def test_attackers_end_when_they_are_told_and_tell_what_they_did(gateway: Gateway) -> None:
    with processes.running(
        [sys.executable, "-m", "bench.load.attacker", str(gateway.port), "1 TiB header"]
    ) as attacker:
        assert processes.said(attacker) == "ready"
        closed = Attacks.from_json(processes.tell(attacker, "end"))
        assert set(closed.counts) <= {BEGUN, "closed 1009"}
        assert attacker.wait(30) == 0


def test_a_refused_client_is_an_error() -> None:
    with (
        gateways.gateway(gateways.ECHO, "--max-connections", "1") as full,
        upgraded(full.port, "127.0.0.1"),
        pytest.raises(OSError, match=r"refused: b'HTTP/1.1 503"),
    ):
        upgraded(full.port, "127.0.0.2")


def test_honest_clients_count_each_echo_once() -> None:
    """Over a gateway with usual limits: on a busy machine a client may be slower than the short ones allow."""
    with gateways.gateway(gateways.ECHO) as usual:
        with closing(EchoClients(usual.port, 20)) as honest:
            found = honest.run(2.0)
        assert (len(found.latencies_ms), found.errors, found.unanswered) == (40, 0, 0)
        assert usual.metrics()["messages_in_total"] == 40
    assert 0 < found.quantile_ms(0.5) <= found.quantile_ms(0.99) <= found.quantile_ms(1) == max(found.latencies_ms)


def test_honest_clients_notice_that_a_gateway_has_died_and_remember_it() -> None:
    with gateways.gateway() as dying:
        honest = EchoClients(dying.port, 10)
        assert honest.run(0.1).errors == 0
        dying.process.kill()
        dying.process.wait(30)
        assert honest.run(1.5).errors == 10
        assert honest.run(0.1) == Found(errors=10)
        honest.close()


def test_quantiles_are_echoes_that_were_seen() -> None:
    found = Found(latencies_ms=[float(number) for number in range(100, 0, -1)])
    assert [found.quantile_ms(share) for share in (0, 0.5, 0.99, 0.991, 1)] == [1, 50, 99, 100, 100]
    assert Found([7.0]).quantile_ms(0.5) == 7
    assert Found().quantile_ms(0.99) == math.inf


def all_kinds(changes: dict[str, int] | None = None) -> dict[str, Attacks]:
    """5,000 attacks a second of each kind, but for changes."""
    counts = dict.fromkeys(KINDS, 50_000) | (changes or {})
    return {kind: Attacks(Counter({BEGUN: count}), 10.0) for kind, count in counts.items()}


def missed(phases: list[Found], attacks: dict[str, Attacks]) -> list[str]:
    report = Report("Hostile")
    judge(report, phases, attacks)
    return [goal for goal, is_met in report.goals.items() if not is_met]


def test_honest_clients_that_notice_nothing_are_a_pass() -> None:
    quiet, hostile = Found([1.0] * 100), Found([1.0] * 99 + [80.0])
    assert missed([quiet, hostile], all_kinds()) == []


@pytest.mark.parametrize(
    ("hostile", "goal"),
    [
        (Found([1.0], errors=1), "no error of an honest client"),
        (Found([1.0], unanswered=1), "no message of an honest client unanswered"),
        (Found([1.0] * 98 + [50.0, 50.0]), "p99 under 50 ms beside the attackers"),
        (Found(), "p99 under 50 ms beside the attackers"),
    ],
)
def test_an_honest_client_that_suffers_fails_it(hostile: Found, goal: str) -> None:
    assert missed([Found([1.0]), hostile], all_kinds()) == [goal]


def test_attacks_that_did_not_take_place_fail_it() -> None:
    phases = [Found([1.0]), Found([1.0])]
    for kind in set(KINDS) - {FLOOD}:
        assert missed(phases, all_kinds({kind: 0})) == ["every kind of attack took place"]
    assert missed(phases, all_kinds({FLOOD: 44_000})) == ["at least 4,500 connects a second from one address"]


def test_a_short_run_from_the_command_line_reports_every_kind(tmp_path: Path) -> None:
    file = tmp_path / "hostile.json"
    command = [sys.executable, "-m", "bench", "hostile", "--seconds", "1", "--count", "50", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    found = json.loads(file.read_text())
    assert done.returncode == (0 if all(found["goals"].values()) else 1)
    assert [row["phase"] for row in found["rows"]] == ["quiet", "hostile"]
    assert all(any(remark.startswith(f"{kind}: ") for remark in found["remarks"]) for kind in KINDS)
