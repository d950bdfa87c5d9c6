"""Other versions of Roost beside the checkout's own: unpacked sdists that use the same virtual environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.support.components import ROOT
from bench.support.reaper import reaper

FUNCTIONS = "roost/backend/store/postgres/functions/01_types.sql"


@dataclass(frozen=True)
class Version:
    """An unpacked sdist. `name` is the version that its processes report."""

    name: str
    folder: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment of its processes. The kinds of job of the benchmarks are the checkout's."""
        return {"PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}"}


def unpack(sdist: Path, mark: str = "") -> Version:
    """Unpack into a folder of its own, which goes with this process, and compile what the gateway compiles.

    `mark` is appended to the version that its processes report, and as a comment to a file of the store's functions; so
    they are another version than the checkout, even if their code is the same.
    """
    folder = Path(tempfile.mkdtemp(prefix="roost-version-"))
    reaper().tell("folder", folder)
    subprocess.run(["tar", "-xzf", sdist, "-C", folder, "--strip-components=1"], check=True)
    about = folder / "roost.egg-info" / "PKG-INFO"
    text = about.read_text()
    name = next(line for line in text.splitlines() if line.startswith("Version: ")).removeprefix("Version: ")
    if mark:
        about.write_text(text.replace(f"\nVersion: {name}\n", f"\nVersion: {name}+{mark}\n", 1))
        with (folder / FUNCTIONS).open("a") as functions:
            functions.write(f"-- {mark}\n")
        name += f"+{mark}"
    _compile(folder)
    return Version(name, folder)


def _compile(folder: Path) -> None:
    """Compile the extensions where there is a compiler; the gateway works without them."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return
    include, suffix = sysconfig.get_paths()["include"], sysconfig.get_config_var("EXT_SUFFIX")
    for source in folder.glob("gateway/*/*.c"):
        made = folder / "roost" / source.relative_to(folder).with_suffix(suffix)
        words = ["-std=c11", "-O2", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(made)]
        subprocess.run([compiler, *words], check=True, capture_output=True)
