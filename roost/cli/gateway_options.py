"""The gateway's settings as options of a Typer command, made from the fields of `Settings` and `Access`.

One table serves both command lines: ``python -m gateway`` and ``roost gateway`` (and ``roost up``) give an option and
its variable the same name. A command that takes them has a parameter `gateway: GatewayOptions`, and is decorated:

    @with_gateway_options
    def command(port: int, gateway: GatewayOptions) -> None: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from roost.gateway.admission.access import Access
from roost.gateway.settings import Settings
from roost.wire.variables import variable

OWN = ("host", "port")
"""Settings for which the commands have options of their own."""
PARAMETER = "gateway"


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """A gateway's settings from the command line and the environment by field name, without host and port."""

    values: Mapping[str, Any]

    def settings(self, host: str, port: int) -> Settings:
        """The gateway's settings. Raises Misuse."""
        return Settings(host=host, port=port, **self._of(Settings))

    def access(self) -> Access:
        """The gateway's access rules for clients. Raises Misuse."""
        return Access(**self._of(Access))

    def _of(self, kind: type[Settings] | type[Access]) -> dict[str, Any]:
        return {item.name: self.values[item.name] for item in fields(kind) if item.name not in OWN}


def with_gateway_options(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap the command: its parameter `gateway` is replaced by one option for each setting of a gateway."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    kept = [each.replace(annotation=hints[name]) for name, each in signature.parameters.items() if name != PARAMETER]
    made = [_parameter(item) for item in (*fields(Access), *fields(Settings)) if item.name not in OWN]
    keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*kept, *made)]

    @wraps(command)
    def with_options(**given: Any) -> None:
        values = {each.name: given.pop(each.name) for each in made}
        command(**given, **{PARAMETER: GatewayOptions(values)})

    with_options.__signature__ = signature.replace(parameters=keywords)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in keywords} | {"return": None}
    return with_options


def _parameter(item: Field[Any]) -> inspect.Parameter:
    assert item.default is not MISSING
    text = str(item.metadata["why"])
    option = typer.Option(
        help=f"{text[0].upper()}{text[1:]}.",
        envvar=variable(item.name),
        rich_help_panel=f"Gateway: {item.metadata['group']}",
        show_default=item.default != "",
    )
    kind = Annotated[type(item.default), option]  # type: ignore[valid-type]
    return inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=kind)
