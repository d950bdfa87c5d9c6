from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.__main__ import main
from bench.compare import wire
from bench.compare.formats.samples import samples

FORMATS = wire.formats()


def leaves(value: Any) -> Iterator[Any]:
    """Every value in a message that is no container, as text."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.astuple(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, bytes):
        yield value.hex()
    elif isinstance(value, float | int):
        yield float(value)
    else:
        yield value
        with_bytes = _as_bytes(value)
        if with_bytes is not None:
            yield with_bytes.hex()


def _as_bytes(value: Any) -> bytes | None:
    """What JSON writes of bytes."""
    try:
        return b64decode(value, validate=True) if isinstance(value, str) else None
    except binascii.Error:
        return None


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sample", samples())
def test_nothing_of_a_message_is_lost_in_any_format(sample: str, name: str) -> None:
    form, values = FORMATS[name][sample], samples()[sample]
    decoded = form.decode(form.encode(values))
    missing = Counter(leaves(values)) - Counter(leaves(decoded))
    assert not missing


def test_every_message_is_measured_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wire.json"
    main(["wire", "--rounds", "1", "--json", str(file)])
    rows = json.loads(file.read_text())["rows"]
    assert [row["message: format"] for row in rows] == [f"{sample}: {name}" for sample in samples() for name in FORMATS]
    assert all(row["bytes"] > 0 and row["encode CPU µs"] > 0 and row["decode CPU µs"] > 0 for row in rows)
    assert {"Protobuf", "msgpack arrays (Roost)"} <= set(FORMATS)
    assert "| message: format | bytes | encode CPU µs | decode CPU µs |" in capsys.readouterr().out
