"""No packet is sent to an address that is refused, however a page is named: seen where every address answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ipaddress import ip_address
from typing import Any

import pytest

from tests.kinds.crawl.fetch.jail import DIALLED_IF_ALLOWED, PUBLIC, addresses, ways_to

pytestmark = pytest.mark.root

JAIL = ("unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-m", "tests.kinds.crawl.fetch.jail")


@pytest.fixture(scope="module")
def found() -> Any:
    if os.geteuid():
        pytest.skip("a network namespace needs root")
    run = subprocess.run(JAIL, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_every_refused_address_ends_in_its_reason_by_literal_name_redirect_and_rebinding(found: Any) -> None:
    ended = found["refused"]["ended"]
    assert len(ended) == len(addresses()) * len(ways_to(ip_address(PUBLIC)))
    assert {url: reason for url, reason in ended.items() if reason != "refused_address"} == {}


def test_none_of_them_is_dialled(found: Any) -> None:
    assert found["refused"]["dialled"] == [PUBLIC]


def test_what_is_dialled_would_have_been_noticed(found: Any) -> None:
    assert set(found["allowed"]["ended"].values()) == {None}
    assert found["allowed"]["dialled"] == sorted([PUBLIC, *DIALLED_IF_ALLOWED])
