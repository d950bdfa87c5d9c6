"""Runs Autobahn's fuzzing client against a gateway process, and checks its report. Started by tools/autobahn.

``wstest``, the program of the suite, exits with 0 whatever it finds. Therefore this module reads the report: every case
must be there, and must be OK, NON-STRICT or INFORMATIONAL both in its behaviour and in how the connection was closed.
The suite limits some cases to one second of wall time, which is too short when other processes keep the machine busy.
So a few bad cases are run once more, alone, and the output says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.support.gateways import ECHO, gateway

CASES = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}
"""Number of cases in each group. A run with fewer cases counts as failed."""

GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
COMPRESSION = ("12", "13")
LIMITS = ("--max-message-bytes", str(32 << 20), "--max-fragments", "200000", "--max-outbox-bytes", str(128 << 20))
"""Group 9 sends 16 MiB, in one message and in pieces of 64 bytes."""

TRIED_AGAIN = 5
"""Up to this many bad cases are run once more. More of them cannot be explained by a busy machine."""

PATIENCE_S = 3600
"""Time limit for one run of the suite. All groups take 12 minutes on an idle machine."""

Found = Mapping[str, Mapping[str, str]]
"""The suite's verdicts by case: ``behavior`` and ``behaviorClose``."""


def run(home: Path, cases: list[str], name: str) -> Found:
    """Run these cases against an echo gateway and return the verdicts.

    `cases` are names or patterns of the suite, such as ``6.18.1`` or ``6.*``. Raises CalledProcessError or
    TimeoutExpired when the suite does not end normally.
    """
    report = home / "reports" / name
    shutil.rmtree(report, ignore_errors=True)  # an old report must not pass for a new one
    report.mkdir(parents=True)
    groups = {case.split(".")[0] for case in cases}
    options = [*LIMITS, "--compression"] if groups & set(COMPRESSION) else [*LIMITS]
    with gateway(ECHO, *options) as server:
        spec = {
            "outdir": str(report),
            "servers": [{"agent": "roost", "url": f"ws://127.0.0.1:{server.port}"}],
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (report / "spec.json").write_text(json.dumps(spec))
        wstest = [str(home / "py2/bin/wstest"), "-m", "fuzzingclient", "-s", str(report / "spec.json")]
        with (report / "wstest.log").open("w") as log:
            subprocess.run(wstest, check=True, stdout=log, stderr=subprocess.STDOUT, timeout=PATIENCE_S)
    found: Found = json.loads((report / "index.json").read_text())["roost"]
    return found


def judge(found: Found, groups: list[str]) -> tuple[list[str], bool]:
    """Return the lines of the report (a table of the groups, then the bad cases), and whether every case passed."""
    lines = [f"{'group':>5} {'cases':>9}  behaviour; behaviour at the close"]
    is_good = True
    for group in groups:
        results = [result for case, result in found.items() if case.split(".")[0] == group]
        counts = "; ".join(_counted(result[name] for result in results) for name in ("behavior", "behaviorClose"))
        lines.append(f"{group:>5} {len(results):>4}/{CASES[group]:<4}  {counts}")
        is_good &= len(results) == CASES[group]
    for case in bad_cases(found):
        lines.append(f"BAD {case}: {found[case]['behavior']} / {found[case]['behaviorClose']}")
        is_good = False
    return lines, is_good


def bad_cases(found: Found) -> list[str]:
    """Return the names of the cases that did not pass, in the order of their numbers."""
    bad = [case for case, result in found.items() if not {result["behavior"], result["behaviorClose"]} <= set(GOOD)]
    return sorted(bad, key=lambda case: [int(part) for part in case.split(".")])


def _counted(verdicts: Iterable[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts).most_common()) or "none"


def main() -> int:
    """Run the groups named on the command line; return the exit status, which is 0 when every case ran and passed."""
    home, groups = Path(sys.argv[1]).resolve(), sys.argv[2:]
    unknown = [group for group in groups if group not in CASES]
    if unknown:
        print(f"there is no group {', '.join(unknown)}; there are {', '.join(CASES)}", file=sys.stderr)
        return 2
    found = run(home, [f"{group}.*" for group in groups], "-".join(groups))
    bad = bad_cases(found)
    if 0 < len(bad) <= TRIED_AGAIN:
        print(f"once more, alone: {', '.join(bad)}")
        found = {**found, **run(home, bad, "again")}
    lines, is_good = judge(found, groups)
    print(*lines, sep="\n")
    print(f"autobahn: {'every case passed' if is_good else 'FAILED'}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
