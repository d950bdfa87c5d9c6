"""Switches in the environment."""

from __future__ import annotations

import pytest

from roost.wire.errors import Misuse
from roost.wire.variables import read_switch


@pytest.mark.parametrize(("word", "is_on"), [("1", True), ("True", True), (" on ", True), ("0", False), ("", False)])
def test_a_switch_says_yes_or_no(word: str, is_on: bool) -> None:
    assert read_switch("compression", {"ROOST_COMPRESSION": word}) is is_on


def test_a_missing_switch_is_off() -> None:
    assert read_switch("compression", {}) is False


@pytest.mark.parametrize("word", ["ture", "2", "enabled", "-"])
def test_another_word_is_an_error_that_names_the_variable(word: str) -> None:
    with pytest.raises(Misuse, match="ROOST_COMPRESSION"):
        read_switch("compression", {"ROOST_COMPRESSION": word})
