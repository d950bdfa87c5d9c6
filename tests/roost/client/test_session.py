"""The client's state machine, message by message."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from roost.client.effects import (
    Answer,
    Effect,
    Ended,
    Moved,
    News,
    Postponed,
    Restart,
    Send,
    Welcomed,
)
from roost.client.session import TRIES_FOR_PARTS, Session
from roost.errors import Busy, Closed, Incomplete, Overloaded, ResultGone
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, Unavailable
from roost.wire.messages.client import (
    Accepted,
    Ack,
    Cancel,
    Error,
    Expired,
    FromClient,
    Hello,
    Level,
    Limits,
    Move,
    Part,
    Progress,
    Result,
    Resume,
    Submit,
    Unknown,
    Welcome,
)
from roost.wire.messages.outcome import Failure, Outcome

WELCOME = Welcome("token", Limits(message_bytes=1000, live_requests=1, retention_s=3600))


def sent(effects: list[Effect]) -> list[FromClient]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def ended(effects: list[Effect]) -> list[Any]:
    return [effect.answer for effect in effects if isinstance(effect, Ended)]


def connected(session: Session, now_ms: int = 1000) -> list[FromClient]:
    """A fresh connection, welcome; what the session sends after its hello."""
    (hello,) = sent(session.opened(now_ms))
    assert isinstance(hello, Hello)
    return sent(session.received(WELCOME))


def submit(request: str = "r1", again: bool = False, stream: bool = False) -> Submit:
    return Submit(request, "crawl", Raw(b"{}"), stream, again)


def part(seq: int, data: bytes, request: str = "r1") -> Part:
    return Part(request, seq, Raw(data))


def accepted_session(waits: bool = False) -> Session:
    """A session with the accepted request r1."""
    session = Session(waits=waits)
    connected(session)
    session.submit("r1", "crawl", b"{}")
    session.received(Accepted("r1"))
    return session


def test_hello_comes_first_and_nothing_else_before_the_welcome() -> None:
    session = Session("known", epoch=5)
    assert session.submit("r1", "crawl", b"{}") == []
    assert session.opened(1000) == [Send(Hello("known", 1000))]
    assert session.received(WELCOME) == [Welcomed("token"), Send(submit())]
    assert session.token == "token"


@pytest.mark.parametrize(("before", "now_ms", "epoch"), [(0, 1000, 1000), (999, 1000, 1000), (5000, 1000, 5001)])
def test_an_epoch_is_the_time_but_always_greater_than_the_one_before(before: int, now_ms: int, epoch: int) -> None:
    """P2, with a clock that jumps back."""
    assert sent(Session(epoch=before).opened(now_ms)) == [Hello(None, epoch)]


def test_an_accepted_request_is_resumed_and_one_that_was_not_is_submitted_again() -> None:
    session = accepted_session()
    session.submit("r2", "crawl", b"{}")
    session.lost()
    assert connected(session, 2000) == [Resume(["r1"]), submit("r2", again=True)]


def test_a_result_is_put_together_acknowledged_and_handed_on_once() -> None:
    session = accepted_session()
    session.received(part(0, b"[1]"))
    session.received(part(1, b"[2]"))
    result = Result("r1", Outcome.DONE, 2, Raw(b'{"n":2}'))
    answer = Answer(Outcome.DONE, (b"[1]", b"[2]"), b'{"n":2}')
    assert session.received(result) == [Ended("r1", answer), Send(Ack("r1"))]
    assert session.received(result) == [Send(Ack("r1"))]
    assert session.unfinished() == []


def test_an_acknowledgement_that_may_have_been_lost_is_said_again_on_the_next_connections() -> None:
    session = accepted_session()
    session.received(Result("r1", Outcome.DONE, 0))
    said = []
    for now_ms in (2000, 3000, 4000, 5000):
        session.lost()
        said.append(connected(session, now_ms))
    assert said == [[Ack("r1")], [Ack("r1")], [Ack("r1")], []]


def test_p29_parts_start_again_at_0_after_a_resume() -> None:
    """P29: what came before the cut is not mixed with what comes after it."""
    session = accepted_session()
    session.received(part(0, b"[1]"))
    session.lost()
    connected(session, 2000)
    session.received(part(0, b"[1]"))
    session.received(part(1, b"[2]"))
    assert ended(session.received(Result("r1", Outcome.DONE, 2))) == [Answer(Outcome.DONE, (b"[1]", b"[2]"))]


def test_parts_that_come_twice_on_one_connection_count_once() -> None:
    session = accepted_session()
    for seq, data in [(0, b"[1]"), (1, b"[2]"), (1, b"[2]"), (0, b"[1]"), (1, b"[2]")]:
        session.received(part(seq, data))
    assert ended(session.received(Result("r1", Outcome.DONE, 2))) == [Answer(Outcome.DONE, (b"[1]", b"[2]"))]


def test_a_result_with_parts_missing_is_asked_for_again_on_new_connections_and_then_given_up() -> None:
    session = accepted_session()
    for attempt in range(TRIES_FOR_PARTS):
        session.received(part(1, b"[2]"))
        effects = session.received(Result("r1", Outcome.DONE, 2))
        if attempt < TRIES_FOR_PARTS - 1:
            assert isinstance(effects[0], Restart)
            session.lost()
            assert connected(session) == [Resume(["r1"])]
    (problem,) = ended(effects)
    assert isinstance(problem, Incomplete)


def test_an_unknown_request_is_said_again_marked_and_stays_marked() -> None:
    """P12."""
    session = accepted_session()
    assert sent(session.received(Unknown("r1"))) == [submit(again=True)]
    session.lost()
    assert connected(session) == [submit(again=True)]


def test_a_request_of_an_earlier_life_is_resumed_and_ends_as_gone_when_nobody_knows_it() -> None:
    session = Session("known")
    connected(session)
    assert sent(session.submit("old", "crawl", None)) == [Resume(["old"])]
    (problem,) = ended(session.received(Unknown("old")))
    assert isinstance(problem, ResultGone)


def test_an_expired_result_is_gone() -> None:
    (problem,) = ended(accepted_session().received(Expired("r1")))
    assert isinstance(problem, ResultGone)


def test_a_request_cancelled_before_it_was_ever_sent_ends_at_once() -> None:
    session = Session()
    session.submit("r1", "crawl", b"{}")
    assert ended(session.cancel("r1")) == [Answer(Outcome.CANCELLED)]
    assert connected(session) == []


def test_a_cancel_is_sent_once_and_brings_what_was_found() -> None:
    session = accepted_session()
    assert sent(session.cancel("r1")) == [Cancel("r1")]
    assert session.cancel("r1") == []
    assert ended(session.received(Result("r1", Outcome.CANCELLED, 0))) == [Answer(Outcome.CANCELLED)]
    assert session.cancel("r1") == []


def test_a_cancel_that_may_have_been_lost_is_said_again_after_the_resume() -> None:
    session = accepted_session()
    session.cancel("r1")
    session.lost()
    assert connected(session) == [Resume(["r1"]), Cancel("r1")]


@pytest.mark.parametrize("waits", [True, False])
def test_a_cancelled_request_that_was_refused_for_now_is_cancelled_again_for_somebody_may_have_it(waits: bool) -> None:
    session = Session(waits=waits)
    connected(session)
    session.submit("r1", "crawl", b"{}")
    session.cancel("r1")
    assert session.received(Error(ErrorCode.OVERLOADED, "try again", "r1", retry_after_s=2.0)) == [Postponed("r1", 2.0)]
    assert sent(session.retry("r1")) == [Cancel("r1")]
    assert ended(session.received(Result("r1", Outcome.CANCELLED, 0))) == [Answer(Outcome.CANCELLED)]


def test_a_cancelled_request_that_is_unknown_is_not_submitted_again() -> None:
    session = Session()
    connected(session)
    session.submit("r1", "crawl", b"{}")
    session.cancel("r1")
    session.lost()
    assert connected(session) == [Resume(["r1"]), Cancel("r1")]
    assert ended(session.received(Unknown("r1"))) == [Answer(Outcome.CANCELLED)]
    assert session.received(Unknown("r1")) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("busy", Busy),
        ("overloaded", Overloaded),
        ("unavailable", Unavailable),
        ("bad_spec", BadInput),
        ("a code of a later version", BadInput),
    ],
)
def test_an_error_ends_its_request_as_what_it_is(code: str, kind: type[Exception]) -> None:
    session = Session()
    connected(session)
    session.submit("r1", "crawl", b"{}")
    (problem,) = ended(session.received(Error(code, "because", "r1", 7.0)))
    assert isinstance(problem, kind)
    assert "because" in str(problem)
    if isinstance(problem, Unavailable):
        assert problem.retry_after_s == 7.0


def test_with_waits_a_refused_request_is_tried_again_at_its_time() -> None:
    session = Session(waits=True)
    connected(session)
    session.submit("r1", "crawl", b"{}")
    assert session.received(Error("overloaded", "later", "r1", 3.0)) == [Postponed("r1", 3.0)]
    assert sent(session.retry("r1")) == [submit()]
    assert session.retry("r1") == []


def test_a_postponed_request_whose_time_comes_without_a_connection_goes_out_with_the_next_welcome() -> None:
    session = Session(waits=True)
    connected(session)
    session.submit("r1", "crawl", b"{}")
    session.received(Error("busy", "later", "r1"))
    session.lost()
    assert session.retry("r1") == []
    assert connected(session) == [submit()]


def test_a_request_too_big_for_the_gateway_ends_here_instead_of_closing_the_connection() -> None:
    session = Session()
    connected(session)
    (problem,) = ended(session.submit("r1", "crawl", b'"' + b"x" * 2000 + b'"'))
    assert isinstance(problem, BadInput)
    assert problem.code is ErrorCode.TOO_BIG


def test_a_refused_session_is_forgotten_and_everything_asked_anew() -> None:
    session = accepted_session()
    session.lost()
    session.forget_token()
    assert sent(session.opened(2000)) == [Send(Hello(None, 2000)).message]
    assert sent(session.received(WELCOME)) == [submit()]


def test_news_and_moves_are_passed_on() -> None:
    session = accepted_session()
    for news in (Progress("r1", 1, 2, 3), Level("r1", 1, 0, Raw(b"[]"))):
        assert session.received(news) == [News("r1", news)]
    assert session.received(Move("ws://next", "t", 1500)) == [Moved("ws://next", "t", 1.5)]


def test_messages_about_requests_that_are_not_ours_change_nothing_and_are_not_acknowledged() -> None:
    session = accepted_session()
    for message in (
        Accepted("x"),
        Progress("x", 0, 0, 0),
        part(0, b"1", "x"),
        Result("x", Outcome.DONE, 0),
        Unknown("x"),
        Expired("x"),
        Error("busy", "?", "x"),
        Error("bad_message", "?"),
    ):
        assert session.received(message) == []
    assert session.unfinished() == ["r1"]


def test_a_failure_travels_with_its_answer() -> None:
    failure = Failure("unreachable", "nothing answers")
    (answer,) = ended(accepted_session().received(Result("r1", Outcome.FAILED, 0, failure=failure)))
    assert answer.failure == failure


def test_abandoned_requests_all_end_and_later_words_on_them_do_nothing() -> None:
    session = accepted_session()
    problem = Closed("over")
    assert ended(session.abandon(problem)) == [problem]
    assert session.received(Accepted("r1")) == []
