from __future__ import annotations

import pytest

from roost.gateway.process.kernel import read_setting, shortages, warn


def test_only_what_is_too_small_is_named() -> None:
    values = {"net.core.somaxconn": 128, "fs.nr_open": 1 << 20, "fs.file-max": 50_000}
    found = shortages(4096, 100_000, values.get)
    assert [(short.setting, short.value, short.wanted) for short in found] == [
        ("net.core.somaxconn", 128, 4096),
        ("fs.file-max", 50_000, 100_000),
    ]


def test_a_setting_that_this_kernel_does_not_have_is_no_shortage() -> None:
    assert read_setting("net.no.such.setting") is None
    assert shortages(4096, 100_000, lambda name: None) == []


def test_the_running_kernel_is_read() -> None:
    value = read_setting("net.core.somaxconn")
    assert value is not None
    assert value > 0


def test_each_shortage_is_one_line_for_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    warn(4096, 100, {"net.core.somaxconn": 128}.get)
    (record,) = caplog.records
    assert record.getMessage() == "kernel setting too small"
    assert vars(record)["setting"] == "net.core.somaxconn"
