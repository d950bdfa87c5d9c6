"""Environment variables for settings: their names, and how a boolean setting is written in one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from roost.wire.errors import Misuse

_ON = frozenset(("1", "true", "t", "yes", "y", "on"))
_OFF = frozenset(("", "0", "false", "f", "no", "n", "off"))


def variable(name: str) -> str:
    """The name of a setting's environment variable: ROOST_JWT_KEY for `jwt_key`."""
    return "ROOST_" + name.upper()


def read_switch(name: str, environment: Mapping[str, str]) -> bool:
    """Whether the variable of the setting `name` is on; an empty or missing one is off.

    Raises Misuse for an unknown word, so that a misspelt ``ture`` does not leave a protection switched off.
    """
    text = environment.get(variable(name), "").strip().lower()
    if text not in _ON | _OFF:
        raise Misuse(f"{variable(name)} is {text[:100]!r}: write true or false")
    return text in _ON
