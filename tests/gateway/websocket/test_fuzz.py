from __future__ import annotations

import pytest

from tests.gateway.fuzz import Fuzz


@pytest.mark.slow
def test_no_mutated_input_makes_an_error_escape_or_leaves_anything_behind() -> None:
    Fuzz(seed=7).run(5000)
