"""What no part may be started with: a security setting that has no effect, or an open port without the secret."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from dataclasses import fields

import pytest

from roost.gateway.admission.access import Access
from roost.gateway.settings import SECURITY, Settings
from roost.wire.guards import APPLIED, AT_A_GATEWAY, SWITCHES, refuse_unapplied
from roost.wire.variables import variable
from tests.roost.cli.command import finish
from tests.roost.cli.test_gateway_options import run, surroundings

__all__ = ["surroundings"]

BROKER = ["--broker", "amqp://127.0.0.1:1"]
OPTIONS = {"discovery": ["--port", "0"], "lock": ["--port", "0"], "master": BROKER, "worker": BROKER}
SHARED = ("ROOST_KEYS", "ROOST_SECRET", "ROOST_ADMIN_TOKEN")
PARTS_AND_SETTINGS = [(part, name) for part in APPLIED for name in sorted(AT_A_GATEWAY - APPLIED[part])]
KEY = {"ROOST_JWT_KEY": "a shared secret of more than 32 bytes, for tests"}
KEYS = {"ROOST_KEYS": "test:0123456789abcdef0123456789abcdef"}


def test_the_table_of_the_guards_names_every_security_setting_of_a_gateway() -> None:
    protecting = [item for kind in (Access, Settings) for item in fields(kind) if item.metadata["group"] == SECURITY]
    assert {item.name for item in protecting} == AT_A_GATEWAY
    assert {item.name for item in protecting if isinstance(item.default, bool)} == SWITCHES


@pytest.mark.parametrize(("part", "name"), PARTS_AND_SETTINGS)
def test_a_part_refuses_a_security_setting_that_it_does_not_apply(part: str, name: str) -> None:
    done = run([part, *OPTIONS[part]], {variable(name): "1" if name in SWITCHES else "something"})
    assert done.exit_code == 2, done.output
    assert f"{variable(name)} is set, but {part} does not apply it" in done.output
    assert "gateway, up" in done.output


@pytest.mark.parametrize("part", APPLIED)
def test_what_a_whole_system_shares_may_be_in_the_environment_of_every_part(part: str) -> None:
    refuse_unapplied(part, dict.fromkeys(SHARED, "something"))


@pytest.mark.parametrize(
    ("arguments", "environment", "complaint"),
    [
        (["gateway", "--jwt-audience", "roost"], {}, "jwt_audience needs a jwt_key"),
        (["gateway"], {"ROOST_JWT_ALGORITHMS": "HS512"}, "jwt_algorithms needs a jwt_key"),
        (["gateway", "--jwt-algorithms", "none"], KEY, "no such JWT algorithm here: none"),
        (["gateway", "--jwt-algorithms", ","], KEY, "no such JWT algorithm here: none named"),
        (["gateway", "--jwt-algorithms", "RS256"], KEY, "the JWT key cannot be used with RS256"),
        (["gateway"], {"ROOST_JWT_KEY": " "}, "jwt_key has fewer than 16 characters"),
        (["gateway"], {"ROOST_JWT_KEY": "\n"}, "jwt_key has fewer than 16 characters"),
        (["up"], {"ROOST_JWT_KEY": "short"}, "jwt_key has fewer than 16 characters"),
        (["gateway", "--processes", "2", "--gateway-port", "65535"], {}, "need ports beyond 65535"),
        (["gateway", "--tls-key", "key.pem"], {}, "tls_key needs a tls_cert"),
        (["gateway", "--tls-cert", "/nowhere.pem"], {}, "cannot use TLS certificate /nowhere.pem"),
        (["gateway", "--require-ticket"], {}, "--require-ticket needs ROOST_KEYS"),
        (["gateway", "--count-loopback", "--max-per-address", "0"], {}, "count_loopback has no effect"),
        (["gateway", "--allow-origins", " , "], {}, "it names no origin"),
        (["gateway", "--allow-origins", "good.example"], {}, "write SCHEME://HOST"),
        (["gateway", "--trusted-proxies", ","], {}, "it names no network"),
        (["gateway", "--trusted-proxies", "balancer"], {}, "trusted_proxies"),
        (["gateway", "--idle-close-s", "inf"], {}, "must be finite"),
        (["gateway", "--processes", "2", "--shared-port", "--gateway-port", "0"], {}, "--shared-port needs a port"),
        (["gateway", "--processes", "2", "--shared-port"], KEYS, "--shared-port does not go with tickets"),
        (["gateway", "--processes", "2", "--public-url", "ws://a.example"], {}, "--public-url needs a port"),
        (["up", "--jwt-audience", "roost"], {}, "jwt_audience needs a jwt_key"),
        (["up", "--tls-key", "key.pem"], {}, "tls_key needs a tls_cert"),
        (["up", "--count-loopback", "--max-per-address", "0"], {}, "count_loopback has no effect"),
        (["discovery", "--count-loopback", "--max-unused-tickets", "0"], {}, "count_loopback has no effect"),
        (["discovery", "--allow-origins", "good.example"], {}, "write SCHEME://HOST"),
    ],
)
def test_a_security_setting_without_effect_is_an_error(
    arguments: list[str], environment: dict[str, str], complaint: str
) -> None:
    done = run([*arguments, *(BROKER if arguments[0] == "gateway" else ())], environment)
    assert (done.exit_code, complaint in done.output) == (2, True), done.output


OTHER_SWITCHES = [
    ("discovery", "count_loopback"),
    ("gateway", "count_loopback"),
    ("gateway", "shared_port"),
    ("up", "compression"),
]


@pytest.mark.parametrize(
    ("part", "name"), [*((part, name) for part in APPLIED for name in sorted(SWITCHES)), *OTHER_SWITCHES]
)
def test_a_misspelt_switch_is_an_error(part: str, name: str) -> None:
    done = run([part, *OPTIONS.get(part, ())], {variable(name): "ture"})
    assert (done.exit_code, variable(name) in done.output) == (2, True), done.output


@pytest.mark.parametrize("word", ["0", "false", "no", "off", ""])
def test_a_switch_that_is_off_is_no_setting_of_the_part(word: str) -> None:
    refuse_unapplied("lock", {variable(name): word for name in SWITCHES})


@pytest.mark.parametrize(
    "arguments",
    [
        ["discovery", "--host", "0.0.0.0"],
        ["discovery", "--host", "::"],
        ["discovery", "--host", "127.0.0.1,0.0.0.0"],
        ["discovery", "--host", "127.0.0.1,"],
        ["discovery", "--host", "::ffff:0.0.0.0"],
        ["lock", "--host", "0.0.0.0", "--public-url", "http://a.example:8100"],
        ["lock", "--host", "no.such.host.invalid", "--public-url", "http://a.example:8100"],
        ["gateway", *BROKER, "--host", "0.0.0.0", "--public-url", "ws://a.example:9001"],
        ["gateway", *BROKER, "--admin-host", "0.0.0.0", "--admin-port", "8080"],
        ["master", *BROKER, "--admin-host", "::", "--admin-port", "8080"],
        ["worker", *BROKER, "--admin-host", "0.0.0.0", "--admin-port", "8080"],
    ],
)
def test_no_part_listens_beyond_loopback_without_the_secret(arguments: list[str]) -> None:
    done = run(arguments, {})
    assert (done.exit_code, "set it to the same long random text" in done.output) == (2, True), done.output


@pytest.mark.slow
@pytest.mark.parametrize("module", ["discovery", "gateway"])
@pytest.mark.parametrize(
    ("arguments", "environment", "complaint"),
    [
        (["--host", "0.0.0.0"], {}, "ROOST_SECRET"),
        ([], {"ROOST_COUNT_LOOPBACK": "ture"}, "ROOST_COUNT_LOOPBACK is 'ture': write true or false"),
    ],
)
async def test_the_modules_hold_to_the_same_rules(
    module: str, arguments: list[str], environment: dict[str, str], complaint: str
) -> None:
    echo = (
        ["--app", "roost.gateway.examples.echo:Echo", "--discovery", "http://127.0.0.1:1"]
        if module == "gateway"
        else []
    )
    command = [sys.executable, "-m", module, "--port", "0", *echo, *arguments]
    done = await finish(await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment))
    assert (done.code, complaint in done.err) == (2, True), done.err
