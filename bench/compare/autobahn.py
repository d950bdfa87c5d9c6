"""Drives Autobahn's fuzzing client against a gateway process, and judges its report. Started by tools/autobahn.

wstest exits with 0 whatever it finds, so the report is read, its cases are counted, and each must be OK, NON-STRICT or
INFORMATIONAL both in what it did and in how it closed. The suite gives some cases one second of wall time, which a busy
machine may need for something else: a few bad cases are run once more, alone, and the report says so.
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
"""How many cases each group has; a suite that ran fewer has not run."""

GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
COMPRESSION = ("12", "13")
LIMITS = ("--max-message-bytes", str(32 << 20), "--max-fragments", "200000", "--max-outbox-bytes", str(128 << 20))
"""Group 9 sends 16 MiB, in one message and in pieces of 64 bytes."""

TRIED_AGAIN = 5
"""Bad cases that are run once more; with more of them it is not the machine."""

PATIENCE_S = 3600
"""All groups take 12 minutes on an idle machine."""

Found = Mapping[str, Mapping[str, str]]
"""Behaviours by case."""


def run(home: Path, cases: list[str], name: str) -> Found:
    """Let the suite's `cases` (as it writes them: ``6.*``, ``6.18.1``) talk to an echo gateway."""
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
    """A table of what was found in each group, then the bad cases; and whether all is good."""
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
    """Cases that did not pass, in order."""
    bad = [case for case, result in found.items() if not {result["behavior"], result["behaviorClose"]} <= set(GOOD)]
    return sorted(bad, key=lambda case: [int(part) for part in case.split(".")])


def _counted(verdicts: Iterable[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts).most_common()) or "none"


def main() -> int:
    """Run the groups named on the command line; 0 when every case is there and good."""
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
