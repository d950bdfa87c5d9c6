"""Tickets and sessions: only ours, only in time, only where they belong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.wire.codes import ErrorCode
from roost.wire.errors import Misuse, TokenError, TokenFault
from roost.wire.tokens import MAX_TOKEN_CHARS, Keyring, Session, Ticket

NOW = 1_750_000_000.0
KEYS = Keyring({"k1": b"0123456789abcdef"})
TICKET = Ticket(expires=int(NOW) + 30, gateway="gw-1", serial=b"12345678")
SESSION = Session(expires=int(NOW) + 86_400, client=bytes(range(16)))
TICKET_TEXT = KEYS.sign_ticket(TICKET)
SESSION_TEXT = KEYS.sign_session(SESSION)

ANY_CHAR = st.characters() | st.sampled_from(".=-_AZaz09 \x00\n")


def test_what_was_signed_is_read() -> None:
    assert KEYS.read_ticket(TICKET_TEXT, NOW, "gw-1") == TICKET
    assert KEYS.read_session(SESSION_TEXT, NOW) == SESSION


def test_a_token_travels_in_a_url_as_it_is() -> None:
    for text in (TICKET_TEXT, SESSION_TEXT):
        assert all(char.isalnum() or char in "._-" for char in text)
        assert len(text) < MAX_TOKEN_CHARS


@given(
    expires=st.integers(int(NOW) + 1, 2**40), gateway=st.text("abc-0189", max_size=64), serial=st.binary(max_size=16)
)
def test_any_ticket_comes_back(expires: int, gateway: str, serial: bytes) -> None:
    ticket = Ticket(expires, gateway, serial)
    assert KEYS.read_ticket(KEYS.sign_ticket(ticket), NOW, gateway) == ticket


@given(position=st.integers(0, len(TICKET_TEXT) - 1), char=ANY_CHAR)
def test_any_single_changed_character_of_a_ticket_is_refused(position: int, char: str) -> None:
    forged = TICKET_TEXT[:position] + char + TICKET_TEXT[position + 1 :]
    if forged != TICKET_TEXT:
        with pytest.raises(TokenError):
            KEYS.read_ticket(forged, NOW, "gw-1")


def test_every_other_character_at_every_place_of_a_session_is_refused() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.="
    for position, right in enumerate(SESSION_TEXT):
        for char in alphabet.replace(right, ""):
            with pytest.raises(TokenError):
                KEYS.read_session(SESSION_TEXT[:position] + char + SESSION_TEXT[position + 1 :], NOW)


def test_a_truncated_or_lengthened_token_is_refused() -> None:
    for end in range(len(TICKET_TEXT)):
        with pytest.raises(TokenError):
            KEYS.read_ticket(TICKET_TEXT[:end], NOW, "gw-1")
    for more in ("=", "==", "A", ".", "\n", " ", "\x00"):
        for text in (TICKET_TEXT + more, more + TICKET_TEXT):
            with pytest.raises(TokenError):
                KEYS.read_ticket(text, NOW, "gw-1")


@pytest.mark.parametrize("text", ["", ".", "...", "t.k1..", "t.k1.AAAA.", "é" * 20, "\ud800", "t." * 400_000])
def test_what_is_no_token_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(TokenError) as refusal:
        KEYS.read_session(text, NOW)
    assert refusal.value.code is ErrorCode.BAD_TOKEN
    assert len(refusal.value.message) < 100


@given(st.text(max_size=100) | st.text("ts.k1AQ_-=", max_size=100))
def test_any_text_is_refused_and_never_worse(text: str) -> None:
    with pytest.raises(TokenError):
        KEYS.read_ticket(text, NOW, "gw-1")


def test_an_expired_token_is_refused_from_its_second_on() -> None:
    assert KEYS.read_ticket(TICKET_TEXT, TICKET.expires - 0.001, "gw-1") == TICKET
    for late in (TICKET.expires, TICKET.expires + 1e9):
        with pytest.raises(TokenError, match="expired"):
            KEYS.read_ticket(TICKET_TEXT, late, "gw-1")
    with pytest.raises(TokenError, match="expired"):
        KEYS.read_session(SESSION_TEXT, SESSION.expires)


def test_a_ticket_opens_one_door_only() -> None:
    for other in ("gw-2", "", "gw-1 ", "GW-1"):
        with pytest.raises(TokenError, match="another gateway"):
            KEYS.read_ticket(TICKET_TEXT, NOW, other)


def test_a_refusal_says_what_was_wrong_in_a_word() -> None:
    for text, now, gateway, fault in (
        ("x", NOW, "gw-1", TokenFault.FORGED),
        (TICKET_TEXT[:-1], NOW, "gw-1", TokenFault.FORGED),
        (TICKET_TEXT, TICKET.expires, "gw-1", TokenFault.EXPIRED),
        (TICKET_TEXT, NOW, "gw-2", TokenFault.FOREIGN),
    ):
        with pytest.raises(TokenError) as refusal:
            KEYS.read_ticket(text, now, gateway)
        assert refusal.value.fault is fault


def test_a_ticket_is_no_session_and_a_session_no_ticket() -> None:
    with pytest.raises(TokenError):
        KEYS.read_session(TICKET_TEXT, NOW)
    with pytest.raises(TokenError):
        KEYS.read_ticket(SESSION_TEXT, NOW, "gw-1")


def test_a_session_names_a_client_of_sixteen_bytes() -> None:
    for client in (b"", bytes(15), bytes(17)):
        with pytest.raises(TokenError):
            KEYS.read_session(KEYS.sign_session(Session(SESSION.expires, client)), NOW)


def test_a_foreign_key_of_the_same_name_signs_nothing_for_us() -> None:
    stranger = Keyring({"k1": b"fedcba9876543210"})
    with pytest.raises(TokenError):
        KEYS.read_session(stranger.sign_session(SESSION), NOW)
    assert Keyring.random().sign_session(SESSION) != Keyring.random().sign_session(SESSION)


def test_a_rotated_key_signs_no_more_but_is_accepted_until_it_is_removed() -> None:
    both = Keyring({"k2": b"a newer, longer secret", "k1": b"0123456789abcdef"})
    only_new = Keyring({"k2": b"a newer, longer secret"})
    assert both.read_session(SESSION_TEXT, NOW) == SESSION
    fresh = both.sign_session(SESSION)
    assert only_new.read_session(fresh, NOW) == SESSION
    with pytest.raises(TokenError):
        only_new.read_session(SESSION_TEXT, NOW)
    with pytest.raises(TokenError):
        KEYS.read_session(fresh, NOW)


def test_keys_are_written_newest_first() -> None:
    ring = Keyring.from_text(" k2: a secret:with colons , k1:0123456789abcdef,")
    assert ring.read_session(SESSION_TEXT, NOW) == SESSION
    assert ring.sign_session(SESSION).startswith("s.k2.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "k1",
        "k1:short",
        ":0123456789abcdef",
        "a.b:0123456789abcdef",
        "é:0123456789abcdef",
        "k1:0123456789abcdef,k1:fedcba9876543210",
        f"{'k' * 65}:0123456789abcdef",
    ],
)
def test_a_keyring_that_could_not_work_is_misuse(text: str) -> None:
    with pytest.raises(Misuse):
        Keyring.from_text(text)
