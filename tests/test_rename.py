"""Code that uses old names, as `tools/rename` rewrites it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOL = ROOT / "tools" / "rename"
TABLE = tomllib.loads((ROOT / "tools" / "renamed.toml").read_text(encoding="utf-8"))

KIND = """
from backend.kinds.api import Keys, Later, PlannedTask  # what a kind needs
from wire.errors import BadInput


class Mine:
    def read_spec(self, text):
        raise BadInput("a sentence")

    def keys(self, spec):
        return Keys(run=spec, cache=spec, fresh_s=0.0)

    def max_seconds(self, spec):
        return spec.max_seconds if spec else Later
"""
NEW_KIND = """
from roost.backend.kinds.api import ResultSharing, RetryLater, PlannedTask  # what a kind needs
from roost.wire.errors import BadInput


class Mine:
    def parse_spec(self, text):
        raise BadInput("a sentence")

    def sharing_keys(self, spec):
        return ResultSharing(run_key=spec, cache_key=spec, max_age_s=0.0)

    def timeout_s(self, spec):
        return spec.max_seconds if spec else RetryLater
"""


def rename(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *options, str(path)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (KIND, NEW_KIND),
        ("import gateway.api\nx = gateway.api.Peer\n", "import roost.gateway.api\nx = roost.gateway.api.Peer\n"),
        (
            "import backend.kinds.api\nx = backend.kinds.api.Keys(run=b'')\n",
            "import roost.backend.kinds.api\nx = roost.backend.kinds.api.ResultSharing(run_key=b'')\n",
        ),
        (
            "import gateway.examples.echo\nclass E(gateway.examples.echo.Echo): ...\n",
            "import roost.gateway.examples.echo\nclass E(roost.gateway.examples.echo.Echo): ...\n",
        ),
        (
            "from backend.kinds import api\nx = api.Keys(run=b''), api.PlannedTask\n",
            "from roost.backend.kinds import api\nx = api.ResultSharing(run_key=b''), api.PlannedTask\n",
        ),
        (
            "import backend.kinds.api as kinds\nraise kinds.Later(1.0)\n",
            "import roost.backend.kinds.api as kinds\nraise kinds.RetryLater(1.0)\n",
        ),
        (
            "import os\n\f\nfrom wire.errors import BadInput\n",
            "import os\n\f\nfrom roost.wire.errors import BadInput\n",
        ),
        ("X = 'a\u2028b'\nimport wire.errors as e\n", "X = 'a\u2028b'\nimport roost.wire.errors as e\n"),
        ("from gateway import links as l\n", "from roost.gateway.io import writer as l\n"),
        ("from gateway import links\nlinks.LOST\n", "from roost.gateway.io import writer\nwriter.LOST\n"),
        # a name that the file binds too keeps its old one here
        (
            "from gateway.links import Links\nLinks = Links or None\n",
            "from roost.gateway.io.writer import ConnectionWriter as Links\nLinks = Links or None\n",
        ),
        ("from gateway.admission import Origins, Rate\n", None),
        ("from wire.messages.lock import *\nKnock, Sweep\n", None),
        ('import roost\nrun("python -m gateway --app gateway.examples.echo:Echo")\n', None),
        ("from roost.session import Session\n", "from roost.client.session import Session\n"),
        # code of others whose packages have the same names
        ("from mine import gateway\ngateway.api()\nhost = 'gateway.example.org'\n", ""),
        ('"""é"""\nimport wire.codes  # ü\nß = wire.codes.MOVED\n', None),
    ],
)
def test_code_is_rewritten_once(tmp_path: Path, old: str, new: str | None) -> None:
    file = tmp_path / "theirs.py"
    file.write_text(old, encoding="utf-8")
    assert rename(tmp_path).returncode == 0
    text = file.read_text(encoding="utf-8")
    if new is None:
        assert "roost." in text
    else:
        assert text == (new or old)
    compile(text, "theirs.py", "exec")
    again = rename(tmp_path, "--check")
    assert (again.returncode, again.stdout) == (0, "")


def test_moved_names_of_one_import_go_to_the_modules_where_they_are_now(tmp_path: Path) -> None:
    file = tmp_path / "theirs.py"
    file.write_text("def f():\n    from gateway.admission import Origins, Rate\n    return Origins, Rate\n")
    rename(file)
    assert file.read_text() == (
        "def f():\n    from roost.gateway.admission.limits import OriginPolicy\n"
        "    from roost.gateway.connections.rate import Rate\n    return OriginPolicy, Rate\n"
    )


def test_texts_get_the_new_names_of_modules_and_files_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("see `gateway.links` in gateway/links.py, and gateway.cells(3)\n")
    (tmp_path / "broken.py").write_text("import gateway.api\nthis is no Python\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG gateway.links")
    done = rename(tmp_path)
    assert (tmp_path / "notes.md").read_text() == (
        "see `roost.gateway.io.writer` in gateway/io/writer.py, and gateway.cells(3)\n"
    )
    assert (tmp_path / "broken.py").read_text().startswith("import gateway.api\n")
    assert "broken.py: left alone" in done.stderr
    assert (tmp_path / "image.png").read_bytes() == b"\x89PNG gateway.links"


def test_a_path_that_is_not_there_is_an_error() -> None:
    done = rename(Path("/nowhere/at/all"))
    assert (done.returncode, "there is no /nowhere/at/all" in done.stderr) == (2, True)


def test_every_new_module_is_there() -> None:
    for module in set(TABLE["modules"].values()):
        assert module.endswith("__main__") or importlib.import_module(module)


def test_every_new_name_is_there() -> None:
    for old, new in TABLE["names"].items():
        module, _, name = new.rpartition(":")
        before = old.partition(":")[0]
        assert hasattr(importlib.import_module(module or TABLE["modules"].get(before, before)), name), old


def test_lines_end_as_they_did(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_bytes(b"from wire.errors import BadInput\r\nprint(BadInput)\r\n")
    assert rename(file).returncode == 0
    assert file.read_bytes() == b"from roost.wire.errors import BadInput\r\nprint(BadInput)\r\n"


def test_modules_that_were_never_roosts_stay(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    text = "from backend.models import User\nimport gateway.views\nimport wire\nfrom wire import thing\n"
    file.write_text(text, encoding="utf-8")
    assert rename(tmp_path).returncode == 0
    assert file.read_text(encoding="utf-8") == text


def test_packages_of_ones_own_stay_even_with_names_of_roosts_modules(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    file = tmp_path / "gateway" / "mine.py"
    file.write_text("from gateway.api import Peer\nfrom wire.errors import BadInput\n", encoding="utf-8")
    done = rename(tmp_path)
    assert "gateway left alone" in done.stderr
    assert file.read_text(encoding="utf-8") == "from gateway.api import Peer\nfrom roost.wire.errors import BadInput\n"


def test_environments_are_not_looked_into(tmp_path: Path) -> None:
    file = tmp_path / "venv" / "lib" / "mine.py"
    file.parent.mkdir(parents=True)
    file.write_text("from wire.errors import BadInput\n", encoding="utf-8")
    assert rename(tmp_path, "--check").returncode == 0
