"""Log lines: a constant message, and the extras where an operator finds them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from roost.wire.telemetry import set_up_logging


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_plain_lines_show_the_extras_after_the_message() -> None:
    stream = io.StringIO()
    set_up_logging("info", "plain", stream)
    logging.getLogger("roost.backend.master").warning("lease lost", extra={"action": "lease_lost", "job": 7})
    logging.getLogger("roost.backend.master").debug("not this one")
    assert stream.getvalue().split(" ", 1)[1] == "WARNING roost.backend.master lease lost action=lease_lost job=7\n"


def test_what_a_peer_wrote_cannot_pass_for_another_line() -> None:
    stream = io.StringIO()
    set_up_logging("info", "plain", stream)
    logging.getLogger("gateway").info("refused", extra={"reason": "bad\n12:00:00 ERROR gateway on fire \x1b[31m"})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r"reason='bad\n12:00:00 ERROR gateway on fire \x1b[31m'")


def test_json_lines_carry_the_extras_as_fields() -> None:
    stream = io.StringIO()
    set_up_logging("info", "json", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("backend").exception("it failed", extra={"action": "failed", "what": b"\xff"})
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert (fields["level"], fields["message"], fields["action"]) == ("ERROR", "it failed", "failed")
    assert "ValueError: broken" in fields["exception"]


def test_setting_up_twice_says_everything_once() -> None:
    stream = io.StringIO()
    set_up_logging(stream=stream)
    set_up_logging(stream=stream)
    logging.getLogger("backend").info("once")
    assert len(stream.getvalue().splitlines()) == 1
