"""The crawl as the rest of the system sees it, and kinds by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec import structs

from roost.backend.kinds.api import JobKind, PlanProgress, ResultSharing, RunnerTools
from roost.backend.kinds.crawl.kind import Crawl
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.backend.kinds.crawl.urls import Scope
from roost.backend.kinds.registry import Kinds, load
from roost.wire.clock import SYSTEM_CLOCK
from roost.wire.codes import ErrorCode
from roost.wire.errors import BadInput, DecodeError, Misuse
from tests.kinds.crawl.politeness.caches import NoCache

SPEC = CrawlSpec("http://example.org/", depth=2, max_age_s=60)


def test_the_same_question_in_other_words_has_the_same_keys() -> None:
    kind = Crawl()
    one = kind.parse_spec(b'{"url": "HTTP://Example.org:80#top", "depth": 2}')
    other = kind.parse_spec(b'{"depth": 2, "scope": "host", "url": " http://example.org/ "}')
    assert kind.sharing_keys(one) == kind.sharing_keys(other)
    assert kind.sharing_keys(one) == kind.sharing_keys(kind.unpack_spec(kind.pack_spec(one)))


@pytest.mark.parametrize(
    ("field", "value", "shares_kept_answers"),
    [
        ("url", "http://example.org/other", False),
        ("scope", Scope.DOMAIN, False),
        ("max_pages", 5, False),
        ("max_seconds", 5.0, False),
        ("include", ("*",), False),
        ("exclude", ("*",), False),
        ("detail", True, False),
        ("links", True, False),
        ("check", True, False),
        ("sitemaps", True, False),
        ("select", {"title": "h1"}, False),
        ("depth", 3, True),
        ("max_age_s", 0.0, True),
    ],
)
def test_another_question_has_other_keys(field: str, value: object, shares_kept_answers: bool) -> None:
    ours, other = Crawl().sharing_keys(SPEC), Crawl().sharing_keys(structs.replace(SPEC, **{field: value}))
    assert ours.run_key != other.run_key
    assert (ours.cache_key == other.cache_key) is shares_kept_answers
    assert ours.cache_key != ours.run_key


def test_freshness_and_time_are_the_clients() -> None:
    assert Crawl().sharing_keys(SPEC).max_age_s == 60
    assert Crawl().timeout_s(SPEC) == 3600


def test_a_damaged_spec_is_refused() -> None:
    with pytest.raises(DecodeError):
        Crawl().unpack_spec(b"\x81")


def test_the_crawl_fits_the_seam() -> None:
    kind: JobKind[CrawlSpec] = Crawl()
    assert kind.plan(SPEC, since=float("inf")).next_tasks(5)
    assert kind.runner(RunnerTools(NoCache(), SYSTEM_CLOCK))


def test_the_crawl_is_built_in_and_others_are_named_by_path() -> None:
    assert load().names() == ["crawl"]
    kinds = load(["tests.kinds.test_kind:Echo"])
    assert kinds.names() == ["crawl", "echo"]
    assert isinstance(kinds.find("crawl"), Crawl)
    assert isinstance(kinds.find("echo"), Echo)


def test_an_unknown_kind_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="crawl") as caught:
        load().find("crwal")
    assert caught.value.code == ErrorCode.UNKNOWN_KIND


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        *((path, "write it module:attribute") for path in ("", "nonsense", ":x", "x:")),
        ("no.such:Kind", "No module named 'no'"),
        ("..:x", "relative import"),
        ("tests.kinds.test_kind:Missing", "no attribute 'Missing'"),
        ("json:JSONDecoder", "has no name, parse_spec"),
        ("tests.kinds.test_kind:Half", "has no runner$"),
        ("tests.kinds.test_kind:Unfinished", "has no parse_spec, .*, runner$"),
        ("datetime:date", "argument"),
    ],
)
def test_a_path_that_leads_to_no_kind_is_refused_and_says_why(path: str, problem: str) -> None:
    with pytest.raises(Misuse, match=problem):
        load([path])


def test_a_kind_may_be_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kind_here.py").write_text("from tests.kinds.test_kind import Echo as Mine\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert load(["kind_here:Mine"]).names() == ["crawl", "echo"]


def test_two_kinds_of_one_name_are_refused() -> None:
    with pytest.raises(Misuse, match="crawl"):
        Kinds([Crawl(), Crawl()])


class Echo(Crawl):
    """Another kind, as far as the registry looks."""

    name = "echo"


class Half:
    """All but the runner."""

    name = "half"
    parse_spec = pack_spec = unpack_spec = sharing_keys = timeout_s = plan = Crawl.plan


class OldByProtocol(JobKind[bytes]):
    """An old kind that inherits the protocol, whose own methods have no bodies."""

    name = "by-protocol"
    pack_spec = unpack_spec = plan = runner = keys = Crawl.plan  # type: ignore[assignment]

    def read_spec(self, text: bytes) -> bytes:
        return text

    def max_seconds(self, spec: bytes) -> float:
        return 7.0


class OldCrawl(Crawl):
    """A crawl that has another time, by the old name."""

    name = "old-crawl"

    def max_seconds(self, spec: CrawlSpec) -> float:
        return 5.0


class Unfinished(JobKind[bytes]):
    """Inherits the protocol and defines nothing."""

    name = "unfinished"


class OldEcho:
    """A kind whose methods have the names of before 0.2."""

    name = "old-echo"
    unpack_spec, plan, runner = Crawl.unpack_spec, Crawl.plan, Crawl.runner

    def read_spec(self, text: bytes) -> bytes:
        return text

    def pack_spec(self, spec: bytes) -> bytes:
        return spec

    def keys(self, spec: bytes) -> object:
        with pytest.warns(FutureWarning, match="Keys is now ResultSharing"):
            from roost.backend.kinds.api import Keys
        return Keys(run=spec, cache=spec, fresh_s=5.0)

    def max_seconds(self, spec: bytes) -> float:
        return 7.0


def test_old_method_names_of_a_kind_work_for_one_release_with_a_warning_that_names_the_new_ones() -> None:
    with pytest.warns(FutureWarning, match="test_kind:OldEcho: read_spec is now parse_spec, keys is now sharing_keys"):
        kind = load(["tests.kinds.test_kind:OldEcho"]).find("old-echo")
    assert (kind.name, kind.parse_spec(b"x"), kind.pack_spec(b"x"), kind.timeout_s(b"x")) == ("old-echo", b"x", b"x", 7)
    assert kind.sharing_keys(b"x") == ResultSharing(b"x", b"x", 5.0)


def test_growth_of_a_plan_is_ignored_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="growth"):
        progress = PlanProgress(1, 2, 3, 4)
    assert progress == PlanProgress(1, 2, 3)


def test_old_method_names_are_found_where_the_new_ones_are_inherited() -> None:
    with pytest.warns(FutureWarning, match="read_spec is now parse_spec"):
        by_protocol = load(["tests.kinds.test_kind:OldByProtocol"]).find("by-protocol")
    assert (by_protocol.parse_spec(b"x"), by_protocol.timeout_s(b"x")) == (b"x", 7.0)
    with pytest.warns(FutureWarning, match="OldCrawl: max_seconds is now timeout_s;"):
        crawl = load(["tests.kinds.test_kind:OldCrawl"]).find("old-crawl")
    assert crawl.timeout_s(SPEC) == 5.0
    assert crawl.unpack_spec(crawl.pack_spec(SPEC)) == SPEC
