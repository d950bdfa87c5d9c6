"""Labels as an operator writes them."""

from __future__ import annotations

import pytest

from roost.discovery.core.labels import MAX_LABELS, read_labels
from roost.wire.errors import Misuse


def test_labels_are_names_and_values() -> None:
    assert read_labels(["zone=a", "note=x=y", "empty="]) == {"zone": "a", "note": "x=y", "empty": ""}
    assert read_labels([]) == {}


@pytest.mark.parametrize(
    "texts", [["zone"], ["=a"], ["zone=a", "zone=b"], ["a" * 65 + "=b"], ["a=" + "b" * 65], ["a=\n"]]
)
def test_what_is_no_label_is_refused_with_the_form_to_write(texts: list[str]) -> None:
    with pytest.raises(Misuse, match="NAME=VALUE"):
        read_labels(texts)


def test_there_are_only_so_many_labels() -> None:
    with pytest.raises(Misuse, match="at most 16"):
        read_labels([f"n{number}=v" for number in range(MAX_LABELS + 1)])
