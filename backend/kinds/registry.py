"""Kinds of job by name. The crawl is built in; the operator adds others as ``module:attribute``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from math import inf
from types import MappingProxyType, ModuleType
from typing import Any

from roost.backend.kinds.api import JobKind
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, Misuse

BUILT_IN = ("roost.backend.kinds.crawl.kind:Crawl",)

MEMBERS = ("name", "parse_spec", "pack_spec", "unpack_spec", "sharing_keys", "timeout_s", "plan", "runner")
"""What every kind has (`JobKind`)."""

RENAMED: Mapping[str, str] = MappingProxyType(
    {"parse_spec": "read_spec", "sharing_keys": "keys", "timeout_s": "max_seconds"}
)
"""Methods of a kind -> their names before 0.2, which are accepted with a warning until 0.3."""


class Kinds:
    """The kinds that a process knows. Raises Misuse when two of them have the same name."""

    def __init__(self, kinds: Iterable[JobKind[Any]]) -> None:
        self._kinds: dict[str, JobKind[Any]] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise Misuse(f"two kinds of job are named {kind.name!r}")
            self._kinds[kind.name] = kind

    def names(self) -> list[str]:
        """Return the names of all kinds in alphabetical order."""
        return sorted(self._kinds)

    def find(self, name: str) -> JobKind[Any]:
        """Return the kind with this name. Raises BadInput, with the known names, when there is none."""
        kind = self._kinds.get(name)
        if kind is None:
            known = ", ".join(self.names())
            raise BadInput(ErrorCode.UNKNOWN_KIND, f"no kind of job is named {name!r}: known here are {known}")
        return kind


def load(paths: Sequence[str] = ()) -> Kinds:
    """Return the built-in kinds and those at `paths`: ``module:attribute``, a kind or its class. Raises Misuse."""
    return Kinds(_load_one(path) for path in (*BUILT_IN, *paths))


def _load_one(path: str) -> JobKind[Any]:
    module, colon, attribute = path.partition(":")
    if not (module and colon and attribute):
        raise Misuse(f"no kind of job at {path!r}: write it module:attribute")
    try:
        found: Any = getattr(_imported(module), attribute)
        kind: JobKind[Any] = found() if isinstance(found, type) else found
    except (ImportError, AttributeError, TypeError, ValueError) as problem:
        raise Misuse(f"no kind of job at {path!r}: {problem}") from problem
    missing = [name for name in MEMBERS if min(_depth(kind, name), _depth(kind, RENAMED.get(name, name))) == inf]
    if missing:
        raise Misuse(f"{path!r} is no kind of job: it has no {', '.join(missing)}")
    return _with_new_names(kind, path)


def _depth(kind: JobKind[Any], name: str) -> float:
    """How far up the kind's classes the name is defined; infinity when nowhere, or only in `JobKind` itself."""
    if name in getattr(kind, "__dict__", {}):
        return -1
    classes = [base for base in type(kind).__mro__ if base is not JobKind]
    return next((depth for depth, base in enumerate(classes) if name in vars(base)), inf)


def _imported(module: str) -> ModuleType:
    """Import a module; also from the current folder, which Python does not search for an installed command."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return import_module(module)


def _with_new_names(kind: JobKind[Any], path: str) -> JobKind[Any]:
    old_names = {new: old for new, old in RENAMED.items() if _depth(kind, old) < _depth(kind, new)}
    if not old_names:
        return kind
    changes = ", ".join(f"{old} is now {new}" for new, old in old_names.items())
    warnings.warn(f"{path}: {changes}; the old names end with 0.3", FutureWarning, stacklevel=2)
    return _Renamed(kind, old_names)


class _Renamed:
    """Wraps a kind that still uses the old method names, and gives it the new ones."""

    def __init__(self, kind: JobKind[Any], old_names: Mapping[str, str]) -> None:
        self._kind, self._old_names = kind, old_names

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kind, self._old_names.get(name, name))
