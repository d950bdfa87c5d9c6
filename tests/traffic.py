"""Who speaks to whom: read from the source, and asked of `topology` where code can be asked.

Which paths a server has and who asks for them, who publishes to a queue and who consumes from it, which messages they
carry, and who imports which module of messages. `tests.picture` shows it in docs/design.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

from roost.backend.broker import topology
from roost.backend.broker.port import QueueSpec
from roost.backend.store.port import StoreLimits
from roost.wire.codec import JsonReader, Unpacker

ROOT = Path(__file__).resolve().parent.parent

CODE_OF: Mapping[str, tuple[str, ...]] = {
    "client": ("roost/client",),
    "operator": ("roost/cli",),
    "discovery": ("discovery/server.py", "discovery/moving.py", "discovery/heartbeats.py", "discovery/core"),
    "gateway": ("gateway", "backend/client_protocol"),
    "master": ("backend/master",),
    "worker": ("backend/worker",),
    "lock server": ("backend/lock/server.py", "backend/lock/batch_failpoints.py", "backend/store"),
    "registrar": ("discovery/registrar.py",),
}
"""The files that run in one kind of process only; the registrar runs in every service."""

LOCK_CLIENT = "backend/lock/client.py"
BROKER = "the broker (dead letters)"
GATEWAY_NAME, MASTER_NAME, KIND_NAME = "<gateway>", "<master>", "<kind>"

QUEUES: Mapping[str, QueueSpec] = {
    "job_offers": topology.job_offers(StoreLimits().retention_s),
    "tasks": topology.tasks(KIND_NAME),
    "task_results": topology.task_results(MASTER_NAME),
    "gateway_events": topology.gateway_events(GATEWAY_NAME),
    "JOBS_DEAD": topology.JOBS_DEAD,
    "TASKS_DEAD": topology.TASKS_DEAD,
}
"""The queues by their names in `topology`, with the defaults; a test compares the names."""


@dataclass(frozen=True)
class Route:
    """A path of a server: its method, who asks for it, and the messages where they are known."""

    method: str
    path: str
    askers: tuple[str, ...]
    asks: str = ""
    answers: str = ""


@dataclass(frozen=True)
class Flow:
    """What a queue or the fanout carries: who publishes to it, who consumes it, and the message."""

    name: str
    publishers: tuple[str, ...]
    consumers: tuple[str, ...]
    message: str


# --- reading the source ----------------------------------------------------------------------------------------------


def files_of(places: Iterable[str]) -> list[Path]:
    """The Python files at `places`, which are files or folders below the root."""
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Calls of a method with one of these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
            yield node


def _paths(server: Path) -> dict[str, tuple[str, str]]:
    """The paths below /v1 that a server adds: method and handler of each."""
    found: dict[str, tuple[str, str]] = {}
    for call in _calls(tree_of(server), "add_get", "add_post"):
        assert isinstance(call.func, ast.Attribute)
        method = call.func.attr.removeprefix("add_").upper()
        path, handler = call.args[0], call.args[1]
        if isinstance(path, ast.Constant) and isinstance(handler, ast.Attribute):
            found[str(path.value)] = method, handler.attr
        else:  # a loop over pairs
            for node in ast.walk(tree_of(server)):
                if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[1], ast.Attribute):
                    first = node.elts[0]
                    if isinstance(first, ast.Constant) and str(first.value).startswith("/v1/"):
                        found[str(first.value)] = method, node.elts[1].attr
    return found


def _readers(function: ast.AST) -> list[str]:
    """The readers of messages (``read_offer``) that a function names."""
    attributes = (node for node in ast.walk(function) if isinstance(node, ast.Attribute))
    names = [node.attr for node in attributes if isinstance(node.value, ast.Name)]
    names += [node.id for node in ast.walk(function) if isinstance(node, ast.Name)]
    return [name for name in names if name in types_of_readers()]


@cache
def types_of_readers() -> dict[str, str]:
    """What each reader in wire/messages reads, by the reader's name."""
    found: dict[str, str] = {}
    for name in messages():
        module = importlib.import_module(f"roost.wire.messages.{name}")
        for reader, value in vars(module).items():
            if isinstance(value, Unpacker | JsonReader):
                found[reader] = str(module.__annotations__[reader]).partition("[")[2][:-1]
    return found


def messages() -> list[str]:
    """The modules of wire/messages."""
    return [file.stem for file in sorted((ROOT / "wire/messages").glob("*.py")) if file.stem != "__init__"]


# --- what there is ---------------------------------------------------------------------------------------------------


def discovery_routes() -> list[Route]:
    """The paths of discovery, and who asks for each."""
    found = {**_paths(ROOT / "discovery/server.py"), **_paths(ROOT / "discovery/moving.py")}
    askers: dict[str, list[str]] = defaultdict(list)
    for part in ("client", "operator", "registrar"):
        source = "\n".join(_code(file) for file in files_of(CODE_OF[part]))
        for path in found:
            if re.search(r"v1(?:/|' / ')" + path.removeprefix("/v1/") + r"\b", source):
                askers[path].append(part)
    return [Route(method, path, tuple(askers[path])) for path, (method, _) in found.items()]


def _code(file: Path) -> str:
    """The file without comments and docstrings."""
    statements = [
        ast.unparse(node)
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Expr | ast.Assign | ast.Return | ast.AsyncWith | ast.With)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    return "\n".join(statements)


def lock_routes() -> list[Route]:
    """The paths of a lock server, who asks for each, and the messages both ways."""
    server = ROOT / "backend/lock/server.py"
    handlers = {function.name: function for function in _functions(tree_of(server))}
    methods: dict[str, tuple[str, str]] = {}
    for function in _functions(tree_of(ROOT / LOCK_CLIENT)):
        for node in ast.walk(function):
            if isinstance(node, ast.Constant) and str(node.value).startswith("/v1/"):
                methods[str(node.value)] = function.name, _one(_readers(function))
    routes = []
    for path, (method, handler) in _paths(server).items():
        asked_by, answer = methods[path]
        askers = tuple(part for part in ("gateway", "master", "worker") if asked_by in _lock_calls(part))
        routes.append(
            Route(
                method, path, askers, types_of_readers()[_one(_readers(handlers[handler]))], types_of_readers()[answer]
            )
        )
    return routes


def _one(names: list[str]) -> str:
    assert len(set(names)) == 1, names
    return names[0]


def _lock_calls(part: str) -> set[str]:
    """The methods of a client of lock servers that the part's files name."""
    return {
        node.attr
        for file in files_of(CODE_OF[part])
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Attribute) and "lock" in ast.unparse(node.value)
    }


def flows() -> list[Flow]:
    """Each queue of `topology`, and the fanout."""
    publishers: dict[str, list[str]] = defaultdict(list)
    consumers: dict[str, list[str]] = defaultdict(list)
    carried: dict[str, set[str]] = defaultdict(set)
    for part in ("gateway", "master", "worker"):
        files = files_of(CODE_OF[part])
        handlers = {function.name: function for file in files for function in _functions(tree_of(file))}
        for file in files:
            for function in _functions(tree_of(file)):
                for call, names in _queue_calls(function.body, {}):
                    assert isinstance(call.func, ast.Attribute)
                    if call.func.attr in ("publish", "broadcast"):
                        _add(publishers, names, part)
                        continue
                    _add(consumers, names, part)
                    handler = call.args[1]
                    assert isinstance(handler, ast.Attribute)
                    for name in names:
                        carried[name] |= {types_of_readers()[reader] for reader in _reached(handler.attr, handlers)}
    for spec in QUEUES.values():
        if spec.dead_letters is not None:
            _add(publishers, [dead for dead, its in QUEUES.items() if its.name == spec.dead_letters], BROKER)
    return [
        Flow(name, tuple(publishers[name]), tuple(consumers[name]), " or ".join(sorted(carried[name])))
        for name in (*QUEUES, "CONTROL")
    ]


def _add(found: dict[str, list[str]], names: Iterable[str], part: str) -> None:
    for name in names:
        if part not in found[name]:
            found[name].append(part)


def _reached(handler: str, handlers: Mapping[str, ast.AST]) -> list[str]:
    """The readers in a handler, or in what it calls."""
    readers = _readers(handlers[handler])
    for node in ast.walk(handlers[handler]):
        if not readers and isinstance(node, ast.Attribute) and node.attr in handlers and node.attr != handler:
            readers = _readers(handlers[node.attr])
    return readers


def _queue_calls(body: Sequence[ast.stmt], known: dict[str, set[str]]) -> Iterator[tuple[ast.Call, list[str]]]:
    """Calls of a broker in these statements, each with the queues that it names; `known` are variables for queues."""
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            known[statement.targets[0].id] = set(_queues_in(statement.value, known))
        inner = [getattr(statement, field, []) for field in ("body", "orelse", "finalbody")]
        inner += [handler.body for handler in getattr(statement, "handlers", [])]
        if any(inner):
            within = dict(known)
            if isinstance(statement, ast.For) and isinstance(statement.target, ast.Name):
                within[statement.target.id] = set(_queues_in(statement.iter, known))
            for block in inner:
                yield from _queue_calls(block, within)
            continue
        for call in _calls(statement, "publish", "broadcast", "consume", "listen"):
            if call.args and (names := _queues_in(call.args[0], known)):
                yield call, names


@cache
def _mailboxes() -> dict[str, set[str]]:
    """Fields of messages that name a queue: ``reply_to`` is set from `topology` by whoever makes the message."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in files_of(["backend"]):
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name.endswith("_to"):
                    found[name] |= {inner.attr for inner in ast.walk(node.value) if _is_queue(inner)}
    return dict(found)


def _is_queue(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "topology"


def _queues_in(node: ast.AST, known: Mapping[str, set[str]]) -> list[str]:
    """The names of `topology` that an expression stands for."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if _is_queue(inner):
            found.add(inner.attr)
        elif isinstance(inner, ast.Attribute) and inner.attr.endswith("_to"):
            found |= _mailboxes().get(inner.attr, set())
        elif isinstance(inner, ast.Name):
            found |= known.get(inner.id, set())
    return [name for name in (*QUEUES, "CONTROL") if name in found]


def users_of_messages() -> dict[str, list[str]]:
    """Which parts import a message, or a reader, from each module of wire/messages. Constants alone do not count."""
    found: dict[str, list[str]] = {name: [] for name in messages()}
    for part, places in CODE_OF.items():
        for file in files_of(places):
            for node in ast.walk(tree_of(file)):
                if not isinstance(node, ast.ImportFrom) or not node.module:
                    continue
                names = [alias.name for alias in node.names]
                if node.module == "roost.wire.messages":
                    _add(found, names, part)
                elif node.module.startswith("roost.wire.messages.") and not all(map(str.isupper, names)):
                    _add(found, [node.module.rpartition(".")[2]], part)
    return found
