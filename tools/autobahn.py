"""Drives Autobahn's fuzzing client against a gateway process, and judges its report. Started by tools/autobahn.

wstest exits with 0 whatever it finds, so the report is read, its cases are counted, and each must be OK, NON-STRICT or
INFORMATIONAL both in what it did and in how it closed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

CASES = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}
"""How many cases each group has; a suite that ran fewer has not run."""

GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
COMPRESSION = ("12", "13")
LIMITS = ("--max-message-bytes", str(32 << 20), "--max-fragments", "200000", "--max-outbox-bytes", str(128 << 20))


def run(home: Path, groups: list[str]) -> dict[str, dict[str, str]]:
    """Let the suite talk to an echo gateway; behaviour by case."""
    command = [sys.executable, "-m", "gateway", "--app", "gateway.examples.echo:Echo", "--no-discovery", "--port", "0"]
    options = [*LIMITS, "--compression"] if set(groups) & set(COMPRESSION) else [*LIMITS]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        try:
            (port,) = re.findall(r":(\d+)/", gateway.stdout.readline())
            spec = {
                "outdir": str(home / "report"),
                "servers": [{"agent": "roost", "url": f"ws://127.0.0.1:{port}"}],
                "cases": [f"{group}.*" for group in groups],
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
            (home / "spec.json").write_text(json.dumps(spec))
            wstest = [str(home / "py2/bin/wstest"), "-m", "fuzzingclient", "-s", str(home / "spec.json")]
            subprocess.run(wstest, check=True, stdout=subprocess.DEVNULL)
        finally:
            gateway.terminate()
    found: dict[str, dict[str, str]] = json.loads((home / "report/index.json").read_text())["roost"]
    return found


def main() -> int:
    """Run the groups named on the command line; 0 when every case is there and good."""
    home, groups = Path(sys.argv[1]).resolve(), sys.argv[2:]
    found = run(home, groups)
    expected = sum(CASES[group] for group in groups)
    bad = {
        case: (result["behavior"], result["behaviorClose"])
        for case, result in found.items()
        if result["behavior"] not in GOOD or result["behaviorClose"] not in GOOD
    }
    for case, verdict in sorted(bad.items()):
        print(f"{case}: {' / '.join(verdict)}")
    counts = Counter(result["behavior"] for result in found.values())
    print(f"autobahn: {len(found)} of {expected} cases run, {dict(counts)}, {len(bad)} bad")
    return 0 if not bad and len(found) == expected else 1


if __name__ == "__main__":
    sys.exit(main())
