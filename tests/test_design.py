"""What docs/design shows of the code is what the code says, and its links lead to what they name."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from roost.backend.broker import topology
from roost.backend.broker.port import QueueSpec
from roost.wire.messages.registry import ComponentKind
from tests.markdown import anchors, links
from tests.picture import BLOCKS, blocks_in, pages, services, with_blocks
from tests.traffic import CODE_OF, QUEUES, discovery_routes, flows, lock_routes, users_of_messages

SYMBOL = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)`")
every_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


def symbols(file: Path) -> set[str]:
    """What a module defines: names, and names within its classes as ``Class.name``."""
    found: set[str] = set()

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node.body, f"{node.name}.")
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                found.update(prefix + name.id for name in ast.walk(target or ast.Pass()) if isinstance(name, ast.Name))

    look(ast.parse(file.read_text(encoding="utf-8")).body, "")
    return found


@pytest.mark.slow
@every_page
def test_what_a_page_shows_of_the_code_is_what_the_code_gives(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == with_blocks(text), "python -m tests.picture --write renews it"


def test_every_block_stands_in_one_page() -> None:
    used = Counter(name for page in pages() for name in blocks_in(page.read_text(encoding="utf-8")))
    assert used == Counter(BLOCKS.keys())


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for _, path, anchor in links(page):
        file = page.parent / path if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(f"{path}#{anchor}")
    assert broken == []


@every_page
def test_a_link_that_names_a_class_or_function_leads_to_the_module_that_defines_it(page: Path) -> None:
    missing = []
    for text, path, _ in links(page):
        named = SYMBOL.fullmatch(text)
        file = page.parent / path
        if named and file.suffix == ".py" and file.exists() and named[1] not in symbols(file):
            missing.append(f"{named[1]} in {path}")
    assert missing == []


def test_the_picture_has_every_queue_of_the_topology() -> None:
    made = {name for name, value in vars(topology).items() if getattr(value, "__annotations__", {}).get("return")}
    constant = {name for name, value in vars(topology).items() if isinstance(value, QueueSpec)}
    assert made | constant == set(QUEUES)


def test_every_queue_has_somebody_at_both_ends_and_a_message() -> None:
    assert [flow for flow in flows() if not (flow.publishers and flow.consumers and flow.message)] == []


def test_every_path_is_asked_for_by_somebody() -> None:
    assert [route for route in discovery_routes() + lock_routes() if not route.askers] == []


def test_every_module_of_messages_has_users() -> None:
    assert [name for name, parts in users_of_messages().items() if not parts] == []


def test_the_picture_has_every_kind_of_component() -> None:
    kinds = {"lock server" if kind is ComponentKind.LOCK else str(kind) for kind in ComponentKind}
    assert kinds <= set(CODE_OF)
    assert set(services()) == kinds - {"discovery"}
