from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.events import Request as UpgradeRequest

from roost.gateway.api import Refusal
from roost.gateway.websocket import _head
from roost.gateway.websocket.handshake import (
    Opening,
    accept_bytes,
    choose_subprotocol,
    head_end,
    is_health_check,
    judge,
    read_head_in_python,
    read_opening,
    read_plain,
    refusal_bytes,
)

HEAD = (
    b"GET /chat?ticket=abc HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://a.example\r\n"
    b"Sec-WebSocket-Protocol: roost.v1, other\r\n\r\n"
)


def opened(head: bytes = HEAD) -> Opening:
    opening = read_opening(head)
    assert isinstance(opening, Opening), opening
    return opening


def refused(head: bytes) -> Refusal:
    refusal = read_opening(head)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def test_an_ordinary_request_is_understood() -> None:
    opening = opened()
    assert opening.target == "/chat?ticket=abc"
    assert opening.subprotocols == ("roost.v1", "other")
    request = opening.request("127.0.0.9")
    assert (request.path, request.ticket, request.headers["origin"]) == ("/chat", "abc", "http://a.example")
    assert request.address == "127.0.0.9"


def test_the_answer_is_the_one_of_the_rfc() -> None:
    answer = accept_bytes(b"dGhlIHNhbXBsZSBub25jZQ==", "roost.v1")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"Sec-WebSocket-Protocol: roost.v1\r\n" in answer


@pytest.mark.parametrize("subprotocol", [None, "roost.v1"])
def test_a_wsproto_client_takes_our_answer(subprotocol: str | None) -> None:
    client = WSConnection(ConnectionType.CLIENT)
    head = client.send(UpgradeRequest(host="h", target="/", subprotocols=["roost.v1"] if subprotocol else []))
    client.receive_data(accept_bytes(opened(head).key, subprotocol))
    (event,) = client.events()
    assert isinstance(event, AcceptConnection)
    assert event.subprotocol == subprotocol


def without(line: bytes) -> bytes:
    return b"".join(part for part in HEAD.splitlines(keepends=True) if not part.startswith(line))


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (without(b"Upgrade"), 426),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 426),
        (HEAD.replace(b"Version: 13", b"Version: 8"), 426),
        (without(b"Sec-WebSocket-Version"), 400),
        (without(b"Sec-WebSocket-Key"), 400),
        (without(b"Connection"), 400),
        (without(b"Host"), 400),
        (HEAD.replace(b"GET", b"POST"), 400),
        (HEAD.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), 400),
        (HEAD.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZQ=!"), 400),
        (HEAD.replace(b"Host: example.org", b"Host: a\r\nHost: b"), 400),
        (HEAD.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"), 400),
        (HEAD.replace(b"Host: example.org", b"Host: xn--\xff"), 400),
        (HEAD.replace(b"roost.v1", b"\xff"), 400),
        (HEAD.replace(b"Host: example.org", b"Host: \xff.example"), 400),
        (HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
    ],
)
def test_what_is_no_upgrade_request_is_refused_with_a_reason(head: bytes, status: int) -> None:
    refusal = refused(head)
    assert refusal.status == status
    assert refusal.reason


def test_a_strange_host_is_taken_as_it_is() -> None:
    for host in (b".example", b"a..b", b"[::1]:80", b"xn--80ak6aa92e"):
        assert opened(HEAD.replace(b"example.org", host)).request("").headers["host"]


def test_a_wrong_version_is_told_the_right_one() -> None:
    for head in (HEAD.replace(b"Version: 13", b"Version: 8"), without(b"Sec-WebSocket-Version")):
        assert ("sec-websocket-version", "13") in {(name.lower(), value) for name, value in refused(head).headers}


@given(st.binary(max_size=300), st.integers(0, len(HEAD)))
def test_no_bytes_make_it_fail(junk: bytes, at: int) -> None:
    assert isinstance(read_opening(junk + b"\r\n\r\n"), (Opening, Refusal))
    assert isinstance(read_opening(HEAD[:at] + junk + HEAD[at:]), (Opening, Refusal))


VALUES = st.one_of(
    st.sampled_from(
        (b"websocket", b"WebSocket", b"Upgrade", b"keep-alive, Upgrade", b"close", b"13", b"8", b"0", b"chunked", b"")
    ),
    st.sampled_from(
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZR==", b"xn--a", b"a..b", b"a.b:80", b"[::1]:80")
    ),
    st.binary(max_size=6),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=70).map(str.encode),
)
NAMES = st.sampled_from(
    b"Host Upgrade Connection Sec-WebSocket-Key Sec-WebSocket-Version Sec-WebSocket-Protocol Sec-WebSocket-Extensions "
    b"Origin Content-Length Transfer-Encoding Cookie X_Y sec-websocket-key host Expect".split()
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """The ordinary request with lines removed, added, changed and shuffled."""
    lines = HEAD[:-4].split(b"\r\n")
    first, fields = lines[0], lines[1:]
    for _ in range(draw(st.integers(0, 3))):
        line = draw(NAMES) + draw(st.sampled_from((b": ", b": ", b": ", b":", b" : "))) + draw(VALUES)
        if draw(st.booleans()):
            fields.insert(draw(st.integers(0, len(fields))), line)
        else:
            fields[draw(st.integers(0, len(fields) - 1))] = line
    if draw(st.booleans()):
        first = first.replace(
            b"/chat?ticket=abc", draw(st.one_of(st.just(b"*"), st.binary(max_size=5).map(b"/".__add__)))
        )
    fields = draw(st.permutations(fields))
    return draw(st.sampled_from((b"\r\n", b"\r\n", b"\n"))).join([first, *fields, b"", b""])


@pytest.mark.slow
@settings(max_examples=500)
@given(heads())
def test_what_the_byte_path_takes_wsproto_takes_and_sees_the_same(head: bytes) -> None:
    opening = read_plain(head)
    if opening is not None:
        judged = judge(head)
        assert isinstance(judged, Opening)
        assert opening == judged


@given(heads())
def test_compiled_and_python_read_the_same(head: bytes) -> None:
    assert _head.read_head(head) == read_head_in_python(head)


def test_compiled_and_python_read_the_same_whatever_byte_is_replaced_left_out_or_put_in() -> None:
    for at in range(len(HEAD) + 1):
        heads = [HEAD[:at], HEAD[at:], HEAD[:at] + HEAD[at + 1 :]]
        for byte in range(256):
            heads += [HEAD[:at] + bytes((byte,)) + HEAD[at + gap :] for gap in (0, 1)]
        for head in heads:
            assert _head.read_head(head) == read_head_in_python(head), head


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (b"Host", host)
            for host in (b"a", b"a.b-c:80", b"a.", b".a", b"a:", b":80", b"a:80x", b"-", b"x" * 63, b"x" * 64)
        ),
        *((b"Host", host) for host in (b"xn--a", b"a.XN--b", b"xn-", b"a_b", b"a..b")),
        *(
            (b"Connection", value)
            for value in (b"upgrade", b"a,UPGRADE ,b", b",", b"upgraded", b"a  , upgrade", b"up grade")
        ),
        *((b"Upgrade", value) for value in (b"WEBSOCKET", b"websocket, x", b"websockets")),
        *((b"Sec-WebSocket-Version", value) for value in (b"13 ", b"13, 8", b"013", b"1")),
        *((b"X", value) for value in (b"a b", b"a  ", b" a", b"a\tb", b"\xe9", b"")),
        *(
            (name, b"1")
            for name in (b"Content-Length", b"TRANSFER-ENCODING", b"HOST", b"X-", b"-", b"X Y", b"X_Y", b"")
        ),
    ],
)
def test_compiled_and_python_judge_alike(name: bytes, value: bytes) -> None:
    replaced = re.sub(rb"(?im)^%b: .*\r\n" % re.escape(name), lambda _: name + b": " + value + b"\r\n", HEAD)
    added = HEAD[:-2] + name + b": " + value + b"\r\n\r\n"
    for head in (replaced, added):
        assert _head.read_head(head) == read_head_in_python(head)


def test_compiled_only_bytes_are_read() -> None:
    with pytest.raises(TypeError):
        _head.read_head(HEAD.decode())  # type: ignore[arg-type]


def test_compiled_keeps_nothing() -> None:
    heads = [HEAD, HEAD[:-2], HEAD.replace(b"Origin", b"Host"), b"GET / HTTP/1.1\r\n\r\n", b""]
    for head in heads:
        _head.read_head(head)
    before = sys.getallocatedblocks()
    for head in heads * 1000:
        _head.read_head(head)
    assert abs(sys.getallocatedblocks() - before) < 50


def test_the_ordinary_request_takes_the_byte_path() -> None:
    assert read_plain(HEAD) is not None


@given(st.integers(0, len(HEAD) + 20), st.binary(max_size=20))
def test_the_end_of_the_head_is_found_where_it_is(cut: int, rest: bytes) -> None:
    data = (HEAD + rest)[:cut]
    assert head_end(data) == (len(HEAD) if cut >= len(HEAD) else -1)


@given(st.lists(st.sampled_from((b"\r", b"\n", b"\r\n", b"a")), max_size=12).map(b"".join))
def test_lines_may_end_with_or_without_a_carriage_return(data: bytes) -> None:
    found = re.search(rb"\r?\n\r?\n", data)
    assert head_end(data) == (found.end() if found else -1)


def test_the_end_is_found_when_it_comes_byte_by_byte() -> None:
    for seen in range(len(HEAD)):
        assert head_end(HEAD, max(seen - 3, 0)) == len(HEAD)


def test_health_checks_are_told_from_upgrades() -> None:
    assert is_health_check(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert is_health_check(b"GET /health?a HTTP/1.0\r\n\r\n")
    assert not is_health_check(b"GET /healthy HTTP/1.1\r\n\r\n")
    assert not is_health_check(HEAD.replace(b"/chat?ticket=abc", b"/health"))


def test_our_first_preference_wins() -> None:
    assert choose_subprotocol(("a", "b"), ("b", "a")) == "a"
    assert choose_subprotocol(("a",), ("x",)) is None
    assert choose_subprotocol((), ("x",)) is None


def test_a_refusal_says_when_to_come_back_and_that_this_is_all() -> None:
    head, _, body = refusal_bytes(Refusal(503, "full", retry_after_s=5)).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
    assert {b"Retry-After: 5", b"Connection: close", b"Content-Length: %d" % len(body)} <= set(lines)
