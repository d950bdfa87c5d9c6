from __future__ import annotations

from pathlib import Path

import pytest

from roost.client.identity import Identity, load_identity, save_identity
from roost.wire.errors import BadInput


def test_what_was_saved_is_loaded_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "me"
    for epoch in (1, 2**52):
        save_identity(path, Identity("token", epoch))
        assert load_identity(path) == Identity("token", epoch)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_is_a_new_client(tmp_path: Path) -> None:
    assert load_identity(tmp_path / "none") == Identity(None, 0)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"epoch":"x"}', b"\xff", b'{"session":1}', b" " * 10_000])
def test_a_damaged_file_is_refused_with_advice_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "me"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="delete it, or choose another file"):
        load_identity(path)
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot keep the session"):
        save_identity(tmp_path / "no" / "me", Identity())
    with pytest.raises(BadInput, match="cannot read"):
        load_identity(tmp_path)
