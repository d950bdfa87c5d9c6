"""Labels of a component, such as ``zone=a``: where it runs, or which clients it is for. Clients may prefer labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from roost.wire.errors import Misuse

MAX_LABELS = 16
MAX_LABEL_CHARS = 64


def are_labels(found: Mapping[str, str]) -> bool:
    """Whether these are few labels with short, printable names and values, and no name is empty."""
    return len(found) <= MAX_LABELS and all(
        name and len(name) <= MAX_LABEL_CHARS and len(value) <= MAX_LABEL_CHARS and (name + value).isprintable()
        for name, value in found.items()
    )


def read_labels(texts: Iterable[str]) -> dict[str, str]:
    """The labels written as ``["zone=a", "disk=fast"]``, by name. Raises Misuse."""
    labels: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not are_labels({name: value}) or name in labels:
            raise Misuse(f"--label {text}: write NAME=VALUE, each name once, at most {MAX_LABEL_CHARS} characters each")
        labels[name] = value
    if not are_labels(labels):
        raise Misuse(f"--label: at most {MAX_LABELS} of them")
    return labels
