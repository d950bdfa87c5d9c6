"""Every message there is, through its bytes and back; and bytes that are no message."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roost.wire.messages
from roost.wire.codec import JsonReader, Unpacker, pack, to_json
from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError
from roost.wire.messages.client import (
    MAX_IDS,
    Ack,
    FromClient,
    FromGateway,
    Hello,
    Resume,
    Submit,
    read_from_client,
    read_from_gateway,
)
from roost.wire.messages.lock import CancelRequest, JobFinished, read_lease_renewals
from roost.wire.messages.registry import Assignment, read_assignment
from roost.wire.messages.work import CancelTasks, JobChanged, LevelEvent, ProgressEvent, read_control
from tests.wire.shapes import values_of


def _modules() -> list[ModuleType]:
    return [
        importlib.import_module(f"roost.wire.messages.{module.name}")
        for module in pkgutil.iter_modules(roost.wire.messages.__path__)
    ]


def _readers(kind: type) -> dict[str, Any]:
    """Every reader of the message modules, by name."""
    return {name: value for module in _modules() for name, value in vars(module).items() if isinstance(value, kind)}


def _refusal(read: Callable[[bytes], object], data: bytes) -> DecodeError | None:
    """Why the bytes were refused, if they were; nothing but a DecodeError may come out."""
    try:
        read(data)
    except DecodeError as refusal:
        return refusal
    return None


UNPACKERS = _readers(Unpacker)
JSON_READERS = _readers(JsonReader)


def test_the_readers_are_found() -> None:
    assert len(UNPACKERS) >= 14
    assert set(JSON_READERS) >= {"read_from_client", "read_from_gateway", "read_assignment"}


@pytest.mark.parametrize("name", sorted(UNPACKERS))
@given(data=st.data())
def test_internal_messages_come_back_as_they_went(name: str, data: st.DataObject) -> None:
    read = UNPACKERS[name]
    message = data.draw(values_of(read._decoder.type))
    assert read(pack(message)) == message


@pytest.mark.parametrize(
    ("read", "kind"),
    [(read_from_client, FromClient), (read_from_gateway, FromGateway), (read_assignment, Assignment)],
    ids=["client", "gateway", "assignment"],
)
@given(data=st.data())
def test_json_messages_come_back_as_they_went(read: JsonReader[Any], kind: Any, data: st.DataObject) -> None:
    message = data.draw(values_of(kind))
    text = to_json(message)
    assert read(text) == message
    assert read(text.decode()) == message


@pytest.mark.parametrize("name", sorted(UNPACKERS | JSON_READERS))
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused_in_words(name: str, data: bytes) -> None:
    refusal = _refusal((UNPACKERS | JSON_READERS)[name], data)
    assert refusal is None or refusal.code in (ErrorCode.BAD_JSON, ErrorCode.BAD_MESSAGE)
    assert refusal is None or 0 < len(refusal.message) < 300


@pytest.mark.parametrize("name", sorted(UNPACKERS))
@given(data=st.data())
def test_a_damaged_message_is_read_or_refused_never_worse(name: str, data: st.DataObject) -> None:
    read = UNPACKERS[name]
    packed = bytearray(pack(data.draw(values_of(read._decoder.type))))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    refusal = _refusal(read, bytes(packed))
    assert refusal is None or refusal.code is ErrorCode.BAD_MESSAGE


@given(message=values_of(FromClient))
def test_a_field_that_clients_do_not_have_is_refused(message: Any) -> None:
    fields = json.loads(to_json(message))
    with pytest.raises(DecodeError, match="unknown field `typo`") as refusal:
        read_from_client(json.dumps({**fields, "typo": 1}))
    assert refusal.value.code is ErrorCode.BAD_MESSAGE


@given(message=values_of(FromGateway))
def test_a_field_that_a_newer_gateway_adds_is_passed_over(message: Any) -> None:
    fields = msgspec.json.decode(to_json(message), type=dict[str, msgspec.Raw])
    assert read_from_gateway(to_json({**fields, "added": msgspec.Raw(b"1")})) == message


def test_p39_a_field_that_a_newer_version_adds_at_the_end_is_passed_over() -> None:
    cancel = CancelTasks(job=1, token=2)
    assert read_control(pack(["CancelTasks", *msgspec.structs.astuple(cancel), "added"])) == cancel


def test_p39_a_renewal_as_masters_of_0_1_send_it_is_understood() -> None:
    growth = 4_711
    (renewal,) = read_lease_renewals(pack([[1, 2, 3, growth, b"[4, 5]"]]))
    assert (renewal.job, renewal.token, renewal.level, renewal.progress) == (1, 2, 3, b"[4, 5]")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"type":"submit","id":"a","kind":"k","spec":' + "[" * 500_000 + "]" * 500_000 + "}",
        '{"type":"submit","id":"a","kind":"k","spec":' + '{"a":' * 500_000 + "1" + "}" * 500_000 + "}",
        '{"type":"hello","epoch":' + "1" * 100_000 + "}",
        '{"type":"hello","' + "x" * 100_000 + '":1}',
        '{"type":"' + "x" * 100_000 + '"}',
    ],
    ids=["lists", "lists in a spec", "objects in a spec", "a long number", "a long name", "a long type"],
)
def test_huge_input_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        read_from_client(text)
    assert len(refusal.value.message) < 300


@pytest.mark.parametrize("name", sorted(UNPACKERS))
def test_huge_nesting_inside_is_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        UNPACKERS[name](b"\x91" * 1_000_000)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ErrorCode.BAD_JSON),
        ("hello", ErrorCode.BAD_JSON),
        ('{"type":"hello"', ErrorCode.BAD_JSON),
        ('{"type":"hello"} {}', ErrorCode.BAD_JSON),
        ('{"type":"submit","id":"a","kind":"k","spec":NaN}', ErrorCode.BAD_JSON),
        ("\ud800", ErrorCode.BAD_JSON),
        (b"\xff\xfe", ErrorCode.BAD_JSON),
        ("null", ErrorCode.BAD_MESSAGE),
        ("[]", ErrorCode.BAD_MESSAGE),
        ("{}", ErrorCode.BAD_MESSAGE),
        ('{"type":"nonsense"}', ErrorCode.BAD_MESSAGE),
        ('{"type":"hello","epoch":-1}', ErrorCode.BAD_MESSAGE),
        ('{"type":"hello","epoch":9007199254740992}', ErrorCode.BAD_MESSAGE),
        ('{"type":"hello","epoch":"1"}', ErrorCode.BAD_MESSAGE),
        ('{"type":"submit","id":"a","kind":"k"}', ErrorCode.BAD_MESSAGE),
    ],
)
def test_what_is_no_message_is_refused_by_its_kind_of_wrong(text: str | bytes, code: ErrorCode) -> None:
    with pytest.raises(DecodeError) as refusal:
        read_from_client(text)
    assert refusal.value.code is code


@pytest.mark.parametrize("name", ["a", "~" * 64, "!", "id-1:b/c"])
def test_a_request_id_is_visible_ascii(name: str) -> None:
    assert read_from_client(to_json(Ack(id=name))) == Ack(id=name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\n", "\na", "a\x00", "é", "a\x7f", 1, None])
def test_any_other_request_id_is_refused(name: object) -> None:
    with pytest.raises(DecodeError):
        read_from_client(json.dumps({"type": "ack", "id": name}))
    with pytest.raises(DecodeError):
        read_from_client(json.dumps({"type": "resume", "ids": [name]}))


def test_resume_takes_a_bounded_number_of_ids() -> None:
    most = Resume(ids=[str(number) for number in range(MAX_IDS)])
    assert read_from_client(to_json(most)) == most
    with pytest.raises(DecodeError):
        read_from_client(to_json(Resume(ids=[*most.ids, "more"])))


def test_a_spec_is_passed_on_unread() -> None:
    message = read_from_client('{"type":"submit","id":"1","kind":"crawl","spec": {"url" : "x", "deep": [1, 2.50]}}')
    assert isinstance(message, Submit)
    assert bytes(message.spec) == b'{"url" : "x", "deep": [1, 2.50]}'


def test_a_client_that_is_new_says_hello_without_a_session() -> None:
    assert read_from_client('{"type":"hello"}') == Hello(session=None, epoch=0)


def test_renamed_messages_keep_the_tags_that_running_versions_and_the_store_know() -> None:
    tags = {message.__struct_config__.tag for message in (CancelRequest, JobFinished, LevelEvent, ProgressEvent)}
    assert tags == {"Withdraw", "Knock", "LevelNews", "ProgressNews"}
    assert JobChanged.__struct_config__.tag == "Nudge"
