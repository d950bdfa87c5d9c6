"""Makes the folders ``gateway``, ``backend``, ``discovery`` and ``wire`` of a clone packages of `roost`.

``roost/gateway`` is a symbolic link to ``../gateway``, so Python could load each module under two names. Then
``gateway.api`` and ``roost.gateway.api`` would have two different classes ``Application``. When such a folder is
imported by its own name, it calls `hand_over`, which makes the first name an alias of the second. No module is loaded
twice.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def hand_over(folder: str) -> None:
    """Make `folder` and all modules below it aliases of those in ``roost``. Called by the folder's ``__init__``."""
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
        """Import the real module; the import system then uses the entry in `sys.modules`, not the empty `module`."""
        sys.modules[module.__name__] = import_module(f"roost.{module.__name__}")
