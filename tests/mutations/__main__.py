"""``python -m tests.mutations [WORD ...]``: all mutations, or those whose rule or text has one of the words.

Prints each with the test that noticed. Status 1 when one survives, no longer applies, or its tests fail without it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations.mutation import Mutation, Selection, Verdict, attempt, copy_of_the_tree, run_tests
from tests.mutations.table import MUTATIONS


def say(text: str) -> None:
    """At once, for it takes minutes."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def unbroken(tree: Path, mutations: list[Mutation]) -> dict[Selection, str]:
    """Why tests fail although nothing is broken; empty when none does."""
    wrong: dict[Selection, str] = {}
    for tests in dict.fromkeys(mutation.tests for mutation in mutations):
        verdict = run_tests(tree, tests)
        if verdict.caught_by or verdict.problem:
            wrong[tests] = verdict.caught_by or verdict.problem
            say(f"FAILS UNBROKEN  {' '.join(tests)}: {wrong[tests]}")
    return wrong


def report(mutation: Mutation, verdict: Verdict) -> bool:
    """Whether it was caught."""
    if verdict.problem:
        what, by = "BROKEN  ", verdict.problem
    elif verdict.caught_by:
        what, by = "caught  ", f"by {verdict.caught_by}"
    else:
        what, by = "SURVIVED", " ".join(mutation.tests)
    say(f"{what} {verdict.took_s:5.1f} s  {mutation.rule}: {mutation.what}\n                  {by}")
    return what.startswith("caught")


def main() -> int:
    """0 when every mutation is caught."""
    parser = argparse.ArgumentParser("python -m tests.mutations", description=__doc__, allow_abbrev=False)
    parser.add_argument("words", nargs="*", help="only mutations with one of these in their rule or text")
    words = parser.parse_args().words
    chosen = [each for each in MUTATIONS if not words or any(word in f"{each.rule}: {each.what}" for word in words)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="roost-mutations-") as folder:
        Path(folder).chmod(0o755)
        with copy_of_the_tree(Path(folder)) as tree:
            wrong = unbroken(tree, chosen)
            caught = [report(mutation, attempt(tree, mutation)) for mutation in chosen]
    say(f"{sum(caught)} of {len(caught)} mutations caught in {time.monotonic() - began:.0f} s")
    return 0 if chosen and all(caught) and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
