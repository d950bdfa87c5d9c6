"""URLs are what the web's own test data says (web-platform-tests, as Debian's librust-url-dev carries it)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from bench.support.sites import URL_TESTS
from roost.backend.kinds.crawl.urls import join

NO_BASE = "about:blank"


def cases() -> list[dict[str, Any]]:
    """All that is not a comment."""
    return [case for case in json.loads(URL_TESTS.read_text()) if isinstance(case, dict)]


def meant(case: dict[str, Any]) -> str | None:
    return join(case["base"] or NO_BASE, case["input"])


@pytest.mark.sites
def test_every_web_url_of_the_standards_data_is_read_as_it_says() -> None:
    valid = [case for case in cases() if str(case.get("href")).startswith(("http://", "https://"))]
    assert len(valid) > 200
    for case in valid:
        page = case["href"].partition("#")[0]
        assert meant(case) == re.sub(r"^(https?://)[^/@]*@", r"\1", page), case


@pytest.mark.sites
def test_every_malformed_url_of_the_standards_data_is_none() -> None:
    malformed = [case for case in cases() if case.get("failure")]
    assert len(malformed) > 230
    assert [case for case in malformed if meant(case) is not None] == []


@pytest.mark.parametrize("name", ["bücher.example", "faß.example", "νίκος.example", "名がドメイン.com", "ÜBER.example"])
def test_names_in_other_scripts_are_names(name: str) -> None:
    url = join(NO_BASE, f"http://{name}/")
    assert url is not None
    assert url.startswith("http://xn--")
    assert join(NO_BASE, url) == url
