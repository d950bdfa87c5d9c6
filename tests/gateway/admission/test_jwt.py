"""JSON Web Tokens in the opening handshake."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from roost.gateway.admission.jwt import JwtVerifier
from roost.gateway.api import Refusal
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.errors import Misuse
from tests.gateway.harness import GatewayFixture, Recorder, TickClock
from tests.gateway.test_server import refusal_of

KEY = "a shared secret of more than 32 bytes, for tests"


def token(key: str = KEY, **claims: Any) -> str:
    full = {"sub": "ada", "exp": int(SYSTEM_CLOCK.wall()) + 60} | claims
    return jwt.encode({name: value for name, value in full.items() if value is not None}, key, "HS256")


def checked(text: str, audience: str = "") -> str | Refusal:
    bearer = JwtVerifier(KEY, ["HS256"], audience, SYSTEM_CLOCK)
    return bearer.check({b"authorization": b"Bearer " + text.encode()}, ())


def test_a_good_token_names_its_subject() -> None:
    assert checked(token()) == "ada"
    assert checked(token(aud="gateway"), audience="gateway") == "ada"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "rubbish",
        "a" * 5000,
        token(key="another secret of more than 32 bytes, too"),
        token(exp=1),
        token(exp=None),
        token(sub=None),
        token(nbf=int(SYSTEM_CLOCK.wall()) + 3600),
        token(exp="later"),
        token(aud="somebody else"),
        jwt.encode({"sub": "ada", "exp": 2**33}, "", "none"),
        token()[:-2],
    ],
)
def test_any_other_token_is_refused(bad: str) -> None:
    found = checked(bad)
    assert isinstance(found, Refusal)
    assert found.status == 401


def test_time_is_the_injected_clocks() -> None:
    clock = TickClock()
    bearer = JwtVerifier(KEY, ["HS256"], "", clock)
    text = {b"authorization": b"bearer " + token(exp=int(clock.wall()) + 100).encode()}
    assert bearer.check(text, ()) == "ada"
    clock.now_s += 200
    assert isinstance(bearer.check(text, ()), Refusal)


@pytest.mark.parametrize("algorithms", [[], ["none"], ["HS257"]])
def test_an_algorithm_that_is_not_there_is_said(algorithms: list[str]) -> None:
    with pytest.raises(Misuse, match="no such JWT algorithm"):
        JwtVerifier(KEY, algorithms, "", SYSTEM_CLOCK)


async def test_a_page_offers_its_token_as_a_subprotocol_and_the_application_learns_who_it_is(
    gateways: GatewayFixture,
) -> None:
    app = Recorder()
    subjects: list[str] = []
    app.on["open"] = lambda peer: subjects.append(peer.request.subject)
    server = await gateways.serve(app, bearer=JwtVerifier(KEY, ["HS256"], "", SYSTEM_CLOCK))
    client = await gateways.open(server, subprotocols=["roost.v1", "bearer." + token()])
    assert client.accepted is not None
    assert client.accepted.subprotocol == "roost.v1"
    assert subjects == ["ada"]
    assert [request.subject for request in app.requests] == ["ada"]
    nobody = await gateways.connect(server)
    await nobody.write(nobody.upgrade_bytes())
    status, headers = await refusal_of(nobody)
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
