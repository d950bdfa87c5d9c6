from __future__ import annotations

import logging

import pytest

from roost.cli.connection_notices import connection_notices
from roost.client.connection import log


def no_way() -> None:
    log.info("no connection", extra={"action": "no_way", "reason": "connection refused"})


def test_an_outage_is_told_once_and_the_next_one_again() -> None:
    said: list[str] = []
    with connection_notices(said.append):
        for _ in range(2):
            log.info("connection over", extra={"action": "link_over"})
            for _ in range(3):
                no_way()
    assert said == ["roost: connection refused; trying again"] * 2


def test_afterwards_the_log_is_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []
    with connection_notices(said.append):
        log.warning("session refused", extra={"action": "session_refused"})
        log.warning("connection restarted", extra={"action": "link_restart", "reason": "a gap"})
    assert ["asking again" in said[0], said[1]] == [True, "roost: connecting again: a gap"]
    assert caplog.records == [], "the sentence replaces the log line"
    no_way()
    log.warning("heard")
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == ["heard"]
    assert len(said) == 2
