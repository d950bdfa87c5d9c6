"""Pictures and tables in docs/design that are made from the code: parts, routes, queues, messages, layers, states.

A page has a block for each of them, between ``<!-- made by tests/picture.py: NAME -->`` and ``<!-- end -->``.
``python -m tests.picture`` prints the blocks; with ``--write`` it renews them in the pages.

What can be asked of code is asked of it: queues are the specs of `topology`, the services of a process are the objects
that `assembly` returns, states are the tables of `jobs`. The rest `tests.traffic` reads from the source.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from roost.backend.assembly import Site, gateway_parts, lock_parts, master_parts, worker_parts
from roost.backend.broker import topology
from roost.backend.broker.port import QueueSpec
from roost.backend.engines import Engines, EngineUrls
from roost.backend.jobs import JOB_TABLE, REQUEST_TABLE, TASK_TABLE
from roost.backend.kinds.crawl.kind import Crawl
from roost.backend.kinds.registry import Kinds
from roost.backend.store.port import StoreLimits
from roost.gateway.settings import Settings
from roost.wire.codec import JsonReader, Unpacker
from roost.wire.service import FunctionService, Service
from roost.wire.tokens import Keyring
from tests.traffic import (
    BROKER,
    QUEUES,
    ROOT,
    Route,
    discovery_routes,
    flows,
    lock_routes,
    types_of_readers,
    users_of_messages,
)

DESIGN = ROOT / "docs" / "design"
UP = "../../"
"""From a page to the root of the repository."""

BLOCK = re.compile(r"(<!-- made by tests/picture\.py: ([\w-]+) -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)


def services() -> dict[str, list[str]]:
    """The services of each process of the backend, in the order in which they start."""
    site = Site(
        discovery=list,
        keys=Keyring({"key": bytes(32)}),
        engines=Engines(EngineUrls(), StoreLimits()),
        kinds=Kinds([Crawl()]),
    )
    host = "127.0.0.1"
    made: dict[str, list[Service]] = {
        "gateway": gateway_parts(site, Settings(host=host), "", require_ticket=False)[0],
        "lock server": lock_parts(site, host, 0),
        "master": master_parts(site, 1),
        "worker": worker_parts(site, 1, {}),
    }
    return {part: [_named(service) for service in its] for part, its in made.items()}


def _named(service: Service) -> str:
    """A link to the class of the service; for one that is made of functions, to the class of its `start`."""
    owner: Any = service
    if isinstance(service, FunctionService):
        owner = next(value.__self__ for value in vars(service).values() if hasattr(value, "__self__"))
    kind = type(owner)
    engine = re.fullmatch(r"roost\.backend\.(broker|cache)\..*", kind.__module__)
    if engine:
        return f"[{engine[1]} connection]({UP}backend/{engine[1]}/port.py)"
    return f"[`{kind.__name__}`]({UP}{kind.__module__.removeprefix('roost.').replace('.', '/')}.py)"


# --- the blocks ------------------------------------------------------------------------------------------------------


def picture() -> str:
    """All parts, with their queues and routes, as a Mermaid diagram."""
    lines = ["```mermaid", "flowchart LR"]
    parts = ("client", "operator", "discovery", "gateway", "master", "worker", "lock server")
    lines += [f"  {_id(part)}[{part}]" for part in parts]
    lines += ["  store[(store)]", "  registrar[registrar, in every service]"]
    for flow in flows():
        shape = f"{{{{{_queue(flow.name)}}}}}" if flow.name == "CONTROL" else f"[/{_queue(flow.name)}/]"
        lines.append(f"  {flow.name}{shape}")
    lines.append('  client <-->|"WebSocket: FromClient, FromGateway"| gateway')
    lines += _edges(discovery_routes(), "discovery")
    lines += _edges(lock_routes(), "lock server")
    lines.append("  lock_server --> store")
    for flow in flows():
        lines += [f"  {_id(part)} -->|{flow.message}| {flow.name}" for part in flow.publishers if part != BROKER]
        lines += [f"  {flow.name} --> {_id(part)}" for part in flow.consumers]
    for name, spec in QUEUES.items():
        lines += [
            f"  {name} -.->|dead letters| {dead}" for dead, its in QUEUES.items() if its.name == spec.dead_letters
        ]
    return "\n".join([*lines, "```"])


def _id(part: str) -> str:
    return part.replace(" ", "_")


def _queue(name: str) -> str:
    text = topology.CONTROL if name == "CONTROL" else QUEUES[name].name
    return '"' + text.replace("<", "&lt;").replace(">", "&gt;") + '"'


def _edges(routes: Iterable[Route], server: str) -> Iterator[str]:
    """One arrow for each part that asks the server."""
    paths: dict[str, list[str]] = defaultdict(list)
    for route in routes:
        for asker in route.askers:
            paths[asker].append(route.path)
    for asker, its in paths.items():
        yield f'  {_id(asker)} -->|"{", ".join(its)}"| {_id(server)}'


def discovery_table() -> str:
    """The paths of discovery."""
    rows = [(f"`{route.method} {route.path}`", ", ".join(route.askers)) for route in discovery_routes()]
    return _table(("path of discovery", "asked by"), rows)


def lock_table() -> str:
    """The paths of a lock server."""
    rows = [(f"`{r.method} {r.path}`", ", ".join(r.askers), f"`{r.asks}`", f"`{r.answers}`") for r in lock_routes()]
    return _table(("path of a lock server", "asked by", "question", "answer"), rows)


def queues_table() -> str:
    """The queues, who is at each end, and what bounds them."""
    rows = []
    for flow in flows():
        name = topology.CONTROL if flow.name == "CONTROL" else QUEUES[flow.name].name
        ends = ", ".join(flow.publishers), ", ".join(flow.consumers)
        bounds = "fanout: who listens now" if flow.name == "CONTROL" else _bounds(QUEUES[flow.name])
        rows.append((f"`{name}`", *ends, f"`{flow.message}`", bounds))
    return _table(("queue", "published by", "consumed by", "carries", "bounds"), rows)


def _bounds(spec: QueueSpec) -> str:
    told = [
        ("at most {:,} messages", spec.max_length),
        ("messages live {:g} h", spec.ttl_s and spec.ttl_s / 3600),
        ("{} deliveries", None if spec.delivery_limit is None else spec.delivery_limit + 1),
        ("goes {:g} s after its consumer", spec.expires_s),
        ("dead letters to `{}`", spec.dead_letters),
    ]
    return ", ".join(text.format(value) for text, value in told if value is not None) or "none"


def messages_table() -> str:
    """The modules of wire/messages: who uses each, and what is read as a whole."""
    rows = []
    for name, parts in users_of_messages().items():
        module = importlib.import_module(f"roost.wire.messages.{name}")
        readers = {key: value for key, value in vars(module).items() if isinstance(value, Unpacker | JsonReader)}
        formats = sorted({"JSON" if isinstance(reader, JsonReader) else "msgpack" for reader in readers.values()})
        read = ", ".join(f"`{kind}`" for kind in dict.fromkeys(types_of_readers()[reader] for reader in readers))
        link = f"[{name}.py]({UP}wire/messages/{name}.py)"
        rows.append((link, ", ".join(parts), ", ".join(formats) or "inside others", read))
    return _table(("module", "used by", "format", "read as a whole"), rows)


def services_table() -> str:
    """What each process of the backend is made of."""
    return _table(
        ("process", "services, in the order in which they start"), [(k, ", ".join(v)) for k, v in services().items()]
    )


def layers() -> str:
    """The order of imports, as import-linter checks it."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    rows = []
    for contract in contracts:
        if contract["type"] == "layers":
            inside = ", ".join(contract.get("containers", [])) or "everything"
            rows.append((inside, " > ".join(f"`{layer}`".replace(" | ", "` and `") for layer in contract["layers"])))
    return _table(("inside", "from the top down; an import only points to the right"), rows)


def states(table: Mapping[Any, Mapping[Any, StrEnum]]) -> str:
    """A state machine as a table: a row for each state, a column for each event."""
    used = {event for steps in table.values() for event in steps}
    events = [event for event in type(next(iter(used))) if event in used]
    rows = [
        (f"**{state}**", *(str(steps[event]) if event in steps else "" for event in events))
        for state, steps in table.items()
    ]
    return _table(("state", *map(str, events)), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "parts": picture,
    "discovery": discovery_table,
    "lock-server": lock_table,
    "queues": queues_table,
    "messages": messages_table,
    "services": services_table,
    "layers": layers,
    "jobs": lambda: states(JOB_TABLE),
    "requests": lambda: states(REQUEST_TABLE),
    "tasks": lambda: states(TASK_TABLE),
}


def pages() -> list[Path]:
    """The pages of docs/design."""
    return sorted(DESIGN.glob("*.md"))


def blocks_in(page: str) -> list[str]:
    """The names of the blocks of a page, in order."""
    return [block[2] for block in BLOCK.finditer(page)]


def with_blocks(page: str) -> str:
    """The page with every block as the code has it. Raises KeyError for a block that is not in `BLOCKS`."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{BLOCKS[block[2]]()}\n\n{block[3]}", page)


def main() -> None:
    """Print the blocks, or write them into the pages."""
    options = argparse.ArgumentParser(prog="python -m tests.picture", description="Pictures and tables of docs/design.")
    options.add_argument("--write", action="store_true", help=f"renew the blocks in {DESIGN.relative_to(ROOT)}")
    if options.parse_args().write:
        for page in pages():
            page.write_text(with_blocks(page.read_text(encoding="utf-8")), encoding="utf-8")
        return
    for name, make in BLOCKS.items():
        sys.stdout.write(f"{name}\n\n{make()}\n\n")


if __name__ == "__main__":
    main()
