"""What a run of the compose file adds to it: an environment of its own, and sites to crawl."""

from __future__ import annotations

import json
import re
import resource
import secrets
from pathlib import Path

from bench.support import services
from tests.compose import crowd, pages
from tests.compose.engine import ROOT

CLIENTS = 20
SITES = "sites"
PRIVATE = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
"""Where engines put the networks of containers."""
ENGINES = ("rabbitmq", "redis", "postgres")
DISCOVERY_PORTS = ("DISCOVERY_1_PORT", "DISCOVERY_2_PORT")
GATEWAY_PORTS = ("GATEWAY_1_PORT", "GATEWAY_2_PORT", "GATEWAY_3_PORT")
MOST_DESCRIPTORS = 65536
REQUIRED = re.compile(r"\$\{(\w+):\?")
"""A variable without a default, as the compose file uses it."""
KEYS = "ROOST_KEYS"


def required(compose_file: str) -> set[str]:
    """Return the variables without which compose refuses this file. All of them are secrets."""
    return {*REQUIRED.findall(compose_file)}


def variables(name: str, compose_file: str | None = None) -> dict[str, str]:
    """Return what the project's .env says: new secrets, free ports, no more descriptors than this machine permits."""
    text = (ROOT / "docker-compose.yml").read_text() if compose_file is None else compose_file
    made = {secret: secrets.token_hex(32) for secret in sorted(required(text))}
    made[KEYS] = f"smoke:{made[KEYS]}"
    made |= {port: str(services.free_port()) for port in (*DISCOVERY_PORTS, *GATEWAY_PORTS)}
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    made["ROOST_NOFILE"] = str(MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, MOST_DESCRIPTORS))
    return made | {"ROOST_PUBLIC_HOST": services.LOOPBACK, "ROOST_IMAGE": f"roost:{name}"}


def override(image: str) -> dict[str, object]:
    """A container of sites on the project's own network, and workers that may reach it."""
    probe = f"import socket; socket.create_connection(('127.0.0.1', {pages.PORT}), 2)"
    sites = {
        "image": image,
        "entrypoint": ["python", "/pages.py"],
        "volumes": [f"{Path(pages.__file__).resolve()}:/pages.py:ro"],
        "healthcheck": {"test": ["CMD", "python", "-c", probe], "interval": "2s", "timeout": "5s"},
        "networks": {"default": {"aliases": [crowd.host(number) for number in range(CLIENTS)]}},
        "depends_on": ["discovery-1"],
    }
    return {"services": {SITES: sites, "worker": {"environment": {"ROOST_ALLOW_PRIVATE": PRIVATE}}}}


def write(folder: Path, made: dict[str, str]) -> tuple[Path, Path]:
    """Both as files, the first for nobody else's eyes."""
    environment, over = folder / "env", folder / "smoke.json"
    environment.touch(0o600)
    environment.write_text("".join(f"{name}={value}\n" for name, value in made.items()))
    over.write_text(json.dumps(override(made["ROOST_IMAGE"])))
    return environment, over
