"""``python -m bench wire``: size and processor time of messages in JSON, Protocol Buffers and Roost's own format.

Encoding begins with plain values and ends with bytes; decoding ends when every field is a Python value. The formats
take turns, on one processor, and nothing is sent over a network.
"""

from __future__ import annotations

import argparse
import sys
import time
import timeit
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product

from bench.compare.formats import json_msgspec, json_names, ours, samples
from bench.compare.formats.samples import Form, Forms
from bench.report import Report
from bench.support.rounds import Row

ROUND_S = 0.02
"""Each figure of a round is a mean over at least so long: thousands of small messages, dozens of big ones."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument("--rounds", type=int, default=9, help="turns of each message in each format [9]")


def run(options: argparse.Namespace) -> Report:
    """Measure every message in every format."""
    report = Report("What a message costs, by format")
    values, found = samples.samples(), formats()
    rows: dict[str, list[Row]] = {f"{sample}: {name}": [] for sample, name in product(values, found)}
    for turn in range(options.rounds):
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
        for sample, name in product(values, found):
            rows[f"{sample}: {name}"].append(_measure(found[name][sample], values[sample]))
    report.add_rounds(rows, first="message: format")
    report.remarks += [
        f"medians of {options.rounds} rounds; from plain values to bytes, and back until every field is a Python value",
        "sizes of messages that are sent one by one are sums",
    ]
    return report


def formats() -> dict[str, Forms]:
    """Every format that is installed here, by name."""
    found = {
        "JSON with names (json)": json_names.forms(),
        "JSON with names (msgspec)": json_msgspec.forms(array_like=False),
        "JSON arrays (msgspec)": json_msgspec.forms(array_like=True),
    }
    if find_spec("google") is not None and find_spec("google.protobuf") is not None:
        from bench.compare.formats import protobuf

        found["Protobuf"] = protobuf.forms()
    else:
        print("LEFT OUT: Protobuf: not installed: make setup", file=sys.stderr, flush=True)
    return {**found, "msgpack arrays (Roost)": ours.forms()}


def _measure(form: Form, values: object) -> Row:
    body = form.encode(values)
    bodies = body if isinstance(body, list) else [body]
    return {
        "bytes": sum(map(len, bodies)),
        "encode CPU µs": _time_us(lambda: form.encode(values)),
        "decode CPU µs": _time_us(lambda: form.decode(body)),
    }


def _time_us(do: Callable[[], object]) -> float:
    timer = timeit.Timer(do, timer=time.process_time)
    count = max(1, int(ROUND_S / max(1e-7, timer.timeit(1))))
    return timer.timeit(count) / count * 1e6
