from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.cli.output_target import CannotWrite, Target


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    target = Target(path)
    assert not path.exists()
    with pytest.raises(ZeroDivisionError):
        target.write(bytes([1 // n]) for n in (1, 0))
    assert not path.exists()
    target.write([b"whole"])
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_result_that_did_not_come_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    Target(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_of_a_replaced_file_stays_and_a_link_is_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "out", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    Target(link).write([b"new"])
    assert (path.read_bytes(), path.stat().st_mode & 0o777, link.is_symlink()) == (b"new", 0o640, True)


def test_a_device_is_written_as_it_is() -> None:
    Target(Path("/dev/null")).write([b"x"])
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("path", "reason"), [("no/such/out", "no such file or directory"), (".", "it is a folder"), ("x" * 300, "too long")]
)
def test_a_place_that_cannot_be_written_is_known_before_the_crawl(tmp_path: Path, path: str, reason: str) -> None:
    with pytest.raises(CannotWrite, match=reason):
        Target(tmp_path / path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_or_file_is_known_before_the_crawl(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "file").chmod(0o400)
    with pytest.raises(CannotWrite, match="read-only"):
        Target(tmp_path / "file")
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite, match="permission denied"):
        Target(tmp_path / "new")
