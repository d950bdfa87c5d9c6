"""The folders of a clone and the packages of `roost` are the same modules (`roost.folders`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LOADED_TWICE = """
import importlib, os, sys
for name in {names!r}:
    importlib.import_module(name)
    assert sys.modules[name] is importlib.import_module("roost." + name), name
files = [os.path.realpath(module.__file__) for module in {{id(m): m for m in sys.modules.values()}}.values()
         if getattr(module, "__file__", None)]
print([file for file in files if files.count(file) > 1])
"""


@pytest.mark.parametrize(
    "names",
    [
        ["gateway.api", "gateway.examples.echo", "gateway.server"],
        ["backend.kinds.crawl.kind", "backend.engines", "gateway.server"],
        ["wire.errors", "wire.messages.client", "discovery.server"],
    ],
)
def test_a_folder_imported_by_its_own_name_loads_no_module_twice(names: list[str]) -> None:
    done = _python("-c", LOADED_TWICE.format(names=names))
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_python_m_gateway_runs_the_packages_module_with_an_application_of_either_name() -> None:
    for folder in ("gateway", "roost.gateway"):
        done = _python("-m", folder, "--app", "gateway.examples.echo:Nothing", "--no-discovery", "--port", "0")
        assert (done.returncode, done.stderr.count("has no attribute 'Nothing'")) == (2, 1), done.stderr


def test_an_unknown_module_of_a_folder_is_reported_by_its_whole_name() -> None:
    done = _python("-c", "import gateway.nothing")
    assert "No module named 'roost.gateway.nothing'" in done.stderr


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100)
