"""The compose file, its example of an environment and the image agree with each other and with what `roost` takes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from roost.backend.engines import Engines, EngineUrls
from roost.backend.store.port import StoreLimits
from roost.cli.commands import app
from roost.wire.auth import InternalSecret
from roost.wire.guards import refuse_exposed, refuse_unapplied
from roost.wire.tokens import Keyring
from tests.compose import overlay

ROOT = Path(__file__).parent.parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()

SETTINGS = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.M))
DEFAULTS = dict(re.findall(r"^#(\w+)=(.*)$", EXAMPLE, re.M))
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
FROM_ENVIRONMENT_ONLY = {"ROOST_ADMIN_TOKEN", "ROOST_KEYS", "ROOST_SECRET"}
REPLICAS = {"discovery": 2, "gateway": 3, "lock": 2, "master": 2, "worker": 3}
ENGINES = {"rabbitmq", "redis", "postgres"}


def read(text: str) -> dict[str, Any]:
    """The file as compose sees it with the example's environment."""
    filled = VARIABLE.sub(lambda found: SETTINGS.get(found[1]) or str(found[3]), text)
    services: dict[str, Any] = yaml.safe_load(filled)["services"]
    return services


SERVICES = read(COMPOSE)
PARTS = {name: service for name, service in SERVICES.items() if name not in ENGINES}


def command(service: dict[str, Any]) -> str:
    return str(service["command"]).split()[0]


def test_there_are_as_many_of_each_part_as_it_takes_to_lose_one() -> None:
    assert {*SERVICES} >= ENGINES
    counts = dict.fromkeys(REPLICAS, 0)
    for service in PARTS.values():
        counts[command(service)] += service.get("deploy", {}).get("replicas", 1)
    assert counts == REPLICAS


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_given_only_what_its_command_takes(name: str) -> None:
    first, *options = PARTS[name]["command"].split()
    parameters = typer.main.get_command(app).commands[first].params  # type: ignore[attr-defined]
    assert {*PARTS[name]["environment"]} <= {each.envvar for each in parameters} | FROM_ENVIRONMENT_ONLY
    assert {*options} <= {option for each in parameters for option in each.opts}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_given_the_secrets_and_engines_that_it_accepts(name: str) -> None:
    given = PARTS[name]["environment"]
    assert given["ROOST_SECRET"]
    Keyring.from_text(given["ROOST_KEYS"])
    taken = {"broker": "ROOST_BROKER", "cache": "ROOST_CACHE", "store": "ROOST_STORE"}
    urls = {what: given[variable] for what, variable in taken.items() if variable in given}
    Engines(EngineUrls(**urls), StoreLimits())
    wanted = {"discovery": set(), "lock": {"store"}}.get(command(PARTS[name]), {"broker", "cache"})
    assert {*urls} == wanted


@pytest.mark.parametrize("name", PARTS)
def test_no_part_refuses_to_start_with_what_the_image_and_the_file_give_it(name: str) -> None:
    given = dict(re.findall(r"(ROOST_\w+)=(\S+)", DOCKERFILE)) | PARTS[name]["environment"]
    assert given["ROOST_HOST"] == given["ROOST_ADMIN_HOST"] == "0.0.0.0", "a container is reached from others"
    refuse_unapplied(command(PARTS[name]), given)
    refuse_exposed(InternalSecret(given["ROOST_SECRET"]), given["ROOST_HOST"], given["ROOST_ADMIN_HOST"])


def test_a_secret_has_no_default_and_its_absence_is_told() -> None:
    uses = VARIABLE.findall(COMPOSE)
    assert {name for name, how, _ in uses if how != ":-"} == {*SETTINGS}
    assert {(how, told) for name, how, told in uses if name in SETTINGS} == {(":?", "copy .env.example to .env")}


def test_the_smoke_run_gives_everything_that_the_file_requires() -> None:
    given = overlay.variables("test")
    assert {name for name, how, _ in VARIABLE.findall(COMPOSE) if how == ":?"} <= {*given}
    assert {*given} <= {name for name, _, _ in VARIABLE.findall(COMPOSE)}
    filled = VARIABLE.sub(lambda found: given.get(found[1], found[3]), COMPOSE)
    assert not yaml.safe_load(filled)["services"].keys() - SERVICES.keys()
    Keyring.from_text(given["ROOST_KEYS"])
    more = "environment: {A: ${ROOST_KEYS:?x}, B: ${A_NEW_SECRET:?x}, C: ${OPTIONAL:-1}}"
    assert overlay.variables("test", more)["A_NEW_SECRET"]


def test_the_example_shows_each_default_as_it_is() -> None:
    assert {(name, default) for name, how, default in VARIABLE.findall(COMPOSE) if how == ":-"} == {*DEFAULTS.items()}


def test_whoever_waits_waits_for_health_and_everybody_tells_of_it() -> None:
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) == (name in ENGINES)  # the image has that of the parts
        waits = service.get("depends_on", {})
        assert all(how == {"condition": "service_healthy"} for how in waits.values()), name
        assert {*waits} <= {*SERVICES}
    assert "HEALTHCHECK" in DOCKERFILE


def test_the_image_is_built_once_and_before_anybody_needs_it() -> None:
    (builder,) = (name for name, service in SERVICES.items() if "build" in service)
    assert {service["image"] for service in PARTS.values()} == {DEFAULTS["ROOST_IMAGE"]}
    assert all(builder in service["depends_on"] for name, service in PARTS.items() if name != builder)


def test_a_gateway_tells_clients_the_port_that_is_published_for_it() -> None:
    gateways = [service for service in PARTS.values() if command(service) == "gateway"]
    published = [service["ports"][0].split(":") for service in gateways]
    assert [service["environment"]["ROOST_PUBLIC_URL"] for service in gateways] == [
        f"ws://localhost:{port}" for _, port, _ in published
    ]
    discovery = [service["ports"][0].split(":") for service in PARTS.values() if command(service) == "discovery"]
    ports = [port for _, port, _ in published + discovery]
    assert len({*ports}) == len(ports) == 5
    assert {inside for _, _, inside in published} == {"9001"}


def test_lock_servers_tell_others_their_own_names_and_discovery_is_known_by_its() -> None:
    locks = {name: service for name, service in PARTS.items() if command(service) == "lock"}
    for name, service in locks.items():
        assert service["environment"]["ROOST_PUBLIC_URL"] == f"http://{name}:8100"
    replicas = {f"http://{name}:8000" for name, service in PARTS.items() if command(service) == "discovery"}
    for service in PARTS.values():
        if command(service) != "discovery":
            assert {*service["environment"]["ROOST_DISCOVERY"].split(",")} == replicas


def test_what_must_last_is_in_volumes_with_names() -> None:
    for name in ("rabbitmq", "postgres"):
        (volume,) = SERVICES[name]["volumes"]
        assert volume.partition(":")[0] in yaml.safe_load(COMPOSE)["volumes"]


def test_what_comes_from_elsewhere_is_pinned_to_a_version() -> None:
    images = [SERVICES[name]["image"] for name in sorted(ENGINES)] + re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.M)
    assert len(images) == 4
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)*", image), image


def test_the_image_holds_every_package_and_nothing_else_goes_into_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
    sources = {source for line in copied for source in line.split()}
    admitted = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert {source.partition("/")[0] for source in sources} == {*admitted}
    assert packages <= sources
    assert re.search(r"^USER roost$", DOCKERFILE, re.M)
