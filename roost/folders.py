"""In a clone, the folders ``gateway``, ``backend``, ``discovery`` and ``wire`` are packages of `roost`.

``roost/gateway`` is a link to ``../gateway``, so that Python could load each module under two names: ``gateway.api``
and ``roost.gateway.api`` would then hold two different classes ``Application``. A folder that is imported by its own
name calls `hand_over`, and from then on the first name leads to the module of the second. Nothing is loaded twice.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def hand_over(folder: str) -> None:
    """Let `folder` and all modules below it be those of ``roost``. Called by the folder's ``__init__``."""
    sys.meta_path.insert(0, _Finder(folder))
    sys.modules[folder] = import_module(f"roost.{folder}")


class _Finder(MetaPathFinder):
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # ``python -m gateway`` needs the code of ``gateway.__main__`` itself, which runs as ``__main__``.
        if not fullname.startswith(f"{self._folder}.") or fullname.endswith(".__main__"):
            return None
        return ModuleSpec(fullname, _Loader())


class _Loader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        """The import system takes what is in `sys.modules` afterwards, not the empty `module`."""
        sys.modules[module.__name__] = import_module(f"roost.{module.__name__}")
