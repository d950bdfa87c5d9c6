"""Close codes are a table; its ranges are what clients act on."""

from __future__ import annotations

import pytest

from roost.wire import codes
from roost.wire.codes import ALL_CLOSES, Close, Comeback, ErrorCode, comeback

PROMISED = {
    1000: Comeback.WHEN_NEEDED,
    1001: Comeback.WHEN_NEEDED,
    1002: Comeback.NEVER,
    1003: Comeback.NEVER,
    1007: Comeback.NEVER,
    1008: Comeback.NEVER,
    1009: Comeback.NEVER,
    1010: Comeback.NEVER,
    1011: Comeback.PAUSE,
    1012: Comeback.MOVED,
    1013: Comeback.PAUSE,
}
"""The table at the top of wire/codes.py, for the numbers of RFC 6455 section 7.4.1 and its registry."""

RANGES = {
    range(4000, 4100): Comeback.NEVER,
    range(4100, 4200): Comeback.PAUSE,
    range(4200, 4300): Comeback.NOW,
    range(4300, 4400): Comeback.WHEN_NEEDED,
}


def test_numbers_and_names_are_unique() -> None:
    assert len({close.number for close in ALL_CLOSES}) == len(ALL_CLOSES)
    assert len({close.reason for close in ALL_CLOSES}) == len(ALL_CLOSES)


@pytest.mark.parametrize("close", ALL_CLOSES, ids=lambda close: str(close.number))
def test_every_close_may_be_sent_and_stands_in_a_documented_range(close: Close) -> None:
    assert close.number in PROMISED or any(close.number in numbers for numbers in RANGES)
    assert 0 < len(close.reason.encode()) <= 123, "RFC 6455 section 5.5: 125 bytes less the number"


def test_the_range_says_when_to_come_back() -> None:
    for number, expected in PROMISED.items():
        assert comeback(number) is expected, number
    for numbers, expected in RANGES.items():
        assert {comeback(number) for number in numbers} == {expected}, numbers


@pytest.mark.parametrize("number", [1005, 1006, 1014, 1015])
def test_a_connection_that_broke_without_a_close_is_worth_a_pause(number: int) -> None:
    assert comeback(number) is Comeback.PAUSE


@pytest.mark.parametrize("number", [-1, 0, 999, 1004, 2999, 3000, 3999, 4400, 4999, 5000, 2**31])
def test_a_number_that_nobody_defined_is_no_invitation(number: int) -> None:
    assert comeback(number) is Comeback.NEVER


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        (codes.REPLACED, Comeback.NEVER),
        (codes.BAD_SESSION, Comeback.NEVER),
        (codes.OVERLOADED, Comeback.PAUSE),
        (codes.SLOW, Comeback.NOW),
        (codes.NO_PONG, Comeback.NOW),
        (codes.IDLE, Comeback.WHEN_NEEDED),
        (codes.MOVED, Comeback.MOVED),
    ],
)
def test_our_own_closes_mean_what_the_protocol_says(close: Close, expected: Comeback) -> None:
    assert comeback(close.number) is expected


def test_error_codes_are_unique_lower_case_words() -> None:
    assert len({code.value for code in ErrorCode}) == len(ErrorCode.__members__)
    assert all(code.value == code.name.lower() for code in ErrorCode)
