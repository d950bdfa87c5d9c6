"""Every setting of a gateway is an option and a variable of `roost gateway` and `roost up`, and reaches the server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from roost.allinone import System, UpSettings
from roost.backend.assembly import Site
from roost.cli import service_commands
from roost.cli.commands import app
from roost.cli.gateway_options import OWN
from roost.cli.gateway_process import GatewayPlan
from roost.discovery.core.client_tickets import ClientTicketLimits
from roost.gateway.admission.access import Access
from roost.gateway.server import Server
from roost.gateway.settings import Settings
from roost.wire.variables import variable
from tests.gateway.io.test_tls import make_certificate

COMMANDS = {
    "gateway": ["gateway", "--broker", "amqp://127.0.0.1:1", "--gateway-port", "0"],
    "up": ["up", "--port", "0", "--gateway-port", "0"],
}
FIELDS = [item for item in (*fields(Access), *fields(Settings)) if item.name not in OWN]
KEYS = {"ROOST_KEYS": "test:0123456789abcdef0123456789abcdef"}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variables of Roost but a test's own, and logging as it was before."""
    for item in FIELDS:
        monkeypatch.delenv(variable(item.name), raising=False)
    for name in ("ROOST_KEYS", "ROOST_SECRET", "ROOST_HOST"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """For each setting a value that is not its default."""
    certificate, key = make_certificate(tmp_path)
    texts = {
        "jwt_key": "a shared secret of more than 32 bytes, for tests",
        "jwt_algorithms": "HS256,HS512",
        "jwt_audience": "roost",
        "tls_cert": certificate,
        "tls_key": key,
        "allow_origins": "https://a.example,https://b.example:8443",
        "trusted_proxies": "10.0.0.0/8",
    }
    others: dict[str, Any] = {item.name: item.default for item in FIELDS}
    return {name: texts.get(name) or type(default)(default + 1) for name, default in others.items()}


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def run(arguments: list[str], environment: dict[str, str]) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "300", **environment})


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Server, Access]]:
    """What the commands would serve, assembled by them and not started, and what clients would have to show."""
    found: list[tuple[Server, Access]] = []

    def take_plan(plan: GatewayPlan, site: Site) -> int:
        found.append((plan.build(site, 0)[1], plan.access))
        return 0

    def take_system(settings: UpSettings) -> System:
        system = System(settings)
        found.append((system.gateway, settings.access))
        return system

    monkeypatch.setattr(service_commands, "run_gateway", take_plan)
    monkeypatch.setattr(service_commands, "System", take_system)
    monkeypatch.setattr(service_commands, "serve", lambda stack, on_ready: None)
    return found


@pytest.mark.parametrize("way", ["options", "variables"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_reaches_the_server(
    command: str, way: str, values: dict[str, Any], built: list[tuple[Server, Access]]
) -> None:
    if way == "options":
        words = [[option(name)] if value is True else [option(name), str(value)] for name, value in values.items()]
        done = run([*COMMANDS[command], *(word for pair in words for word in pair)], KEYS)
    else:
        done = run(COMMANDS[command], KEYS | {variable(name): str(value) for name, value in values.items()})
    assert done.exit_code == 0, done.output
    ((server, access),) = built
    for name, value in values.items():
        assert getattr(access if hasattr(access, name) else server.settings, name) == value, name
    assert server._tls is not None
    assert server._handshakes._bearer is not None
    assert server._tickets._required


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_has_every_setting_in_one_of_two_panels(command: str) -> None:
    panels: dict[str | None, set[str]] = {}
    for parameter in typer.main.get_command(app).commands[command].params:  # type: ignore[attr-defined]
        panels.setdefault(getattr(parameter, "rich_help_panel", None), set()).add(str(parameter.name))
    assert panels["Gateway: security"] | panels["Gateway: limits and times"] == {item.name for item in FIELDS}
    assert panels["Gateway: security"] >= {"jwt_key", "tls_cert", "allow_origins", "require_ticket"}
    text = run([command, "--help"], {}).output
    for item in FIELDS:
        assert option(item.name) in text
        assert variable(item.name) in text


def test_roost_up_applies_proxies_and_limits_to_discovery_too(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[UpSettings] = []

    def take_system(settings: UpSettings) -> System:
        given.append(settings)
        return System(settings)

    monkeypatch.setattr(service_commands, "System", take_system)
    monkeypatch.setattr(service_commands, "serve", lambda stack, on_ready: None)
    options = ["--trusted-proxies", "10.0.0.0/8", "--count-loopback", "--max-unused-tickets", "7"]
    assert run([*COMMANDS["up"], *options], {}).exit_code == 0
    assert [settings.callers for settings in given] == [ClientTicketLimits(7, True, "10.0.0.0/8")]
