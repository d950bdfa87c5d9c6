"""Settings in the environment: what their variables are called, and how a switch is written. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from roost.wire.errors import Misuse

_ON = frozenset(("1", "true", "t", "yes", "y", "on"))
_OFF = frozenset(("", "0", "false", "f", "no", "n", "off"))


def variable(name: str) -> str:
    """The environment variable of a setting: `jwt_key` is ROOST_JWT_KEY."""
    return "ROOST_" + name.upper()


def read_switch(name: str, environment: Mapping[str, str]) -> bool:
    """Whether the variable of the setting `name` says yes; an empty or missing one says no.

    Raises Misuse for any other word: a misspelt ``ture`` must not leave a protection switched off.
    """
    text = environment.get(variable(name), "").strip().lower()
    if text not in _ON | _OFF:
        raise Misuse(f"{variable(name)} is {text[:100]!r}: write true or false")
    return text in _ON
