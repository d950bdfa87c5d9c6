"""Robots.txt by the cases of Protego's authors, and as 4,000 real sites write it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from protego import Protego

from bench.support.sites import PROTEGO
from roost.backend.kinds.crawl.politeness.robots import Rules, our_rules

pytestmark = [
    pytest.mark.sites,
    pytest.mark.slow,
    pytest.mark.skipif(not PROTEGO.exists(), reason="no sources of Protego: tools/setup-tests said why"),
]

ROOT = PROTEGO.parent.parent.parent
PATHS_A_FILE = 20
TESTS = ("test_protego.py", "test_on_google_spec.py", "test_unquote.py")
OTHERWISE = {
    "test_generosity",
    "test_user_agent_precedence[/group3-hedwig-new]",
    "test_user_agent_precedence[/group3-hedwig-images]",
    "test_user_agent_boundary_matching[googlebot-googlebot-news-True]",
    "test_user_agent_boundary_matching[google-googlebot-mobile-True]",
}
"""Where Protego goes beyond the standard: groups for `hedwig` or `foo*bot` concern `hedwig-new` and `foobot` too.

RFC 9309 wants the token as it is (section 2.2.1), and a crawler with a name of its own is well off with that."""


def test_protegos_own_cases_pass_with_our_choice_of_groups_but_for_names_that_only_begin_alike() -> None:
    options = ("-q", "-c", "/dev/null", "--import-mode=importlib", "-p", "tests.kinds.crawl.politeness.robots_by_us")
    command = [sys.executable, "-m", "pytest", *options, *(str(PROTEGO / name) for name in TESTS)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300).stdout
    assert set(re.findall(r"(?m)^FAILED \S*::(\S+)", said)) == OTHERWISE, said
    assert int(said.rpartition(" passed")[0].split()[-1]) > 150, said


def test_our_rules_of_4000_real_sites_are_those_that_protego_finds() -> None:
    count = 0
    for file in sorted((PROTEGO / "test_data").iterdir()):
        body = file.read_bytes()
        text = body.decode(errors="replace").removeprefix("\ufeff")
        judge, ours = Protego.parse(text), Rules(our_rules(body, "roost"))
        named = re.findall(r"(?im)^\s*(?:dis)?allow\s*:\s*(/\S*)", text)[:PATHS_A_FILE]
        for path in ("/", *(path.replace("*", "x").replace("$", "") for path in named)):
            url = f"https://site.example{path}"
            assert ours.allows(url) == judge.can_fetch(url, "roost"), (file.name, path)
        count += 1
    assert count > 4000
