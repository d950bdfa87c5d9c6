from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.gateway.connections.columns import Cells


@given(st.lists(st.tuples(st.integers(0, 500), st.one_of(st.none(), st.binary(min_size=3, max_size=3)))))
def test_cells_are_a_dict_whose_missing_values_are_zero(changes: list[tuple[int, bytes | None]]) -> None:
    cells, model = Cells(3), dict[int, bytes]()
    for fd, value in changes:
        if value is None:
            del cells[fd]
            model.pop(fd, None)
        else:
            cells[fd] = model[fd] = value
    assert all(cells[fd] == model.get(fd, bytes(3)) for fd in range(502))


def test_a_value_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="2 bytes in a cell of 3"):
        Cells(3)[1] = b"ab"


def test_cells_that_were_cut_off_are_zero() -> None:
    cells = Cells(2)
    cells[1], cells[9] = b"ab", b"cd"
    cells.trim(5)
    assert (cells[1], cells[9]) == (b"ab", bytes(2))
    cells[9] = b"ef"
    assert cells[9] == b"ef"
