"""The answer of a crawl depends on the site alone, and its limits are exact."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from roost.backend.kinds.crawl.output.crawl_result import (
    MAX_PIECES,
    PIECE_BYTES,
    CrawlResult,
    read_result,
)
from roost.backend.kinds.crawl.page_tasks import PageResult, read_page_task
from roost.backend.kinds.crawl.plan import AT_ONCE_PER_HOST, CrawlPlan
from roost.backend.kinds.crawl.reasons import Failed, start_failure
from roost.backend.kinds.crawl.spec import CrawlSpec
from roost.backend.kinds.crawl.urls import Scope
from roost.wire.codec import pack
from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError
from roost.wire.messages.outcome import PART_BYTES, Outcome

HOME = "http://h/"
AWAY = "http://away/"
Site = dict[str, list[str] | str]
"""URL -> its links, or the reason why it fails. A URL that is missing has no links."""


def page(site: Site, url: str) -> bytes:
    answer = site.get(url, [])
    if isinstance(answer, str):
        return pack(PageResult(url, 0, answer))
    return pack(PageResult(url, 200, None, list(dict.fromkeys(answer))))


def answer(plan: CrawlPlan, outcome: Outcome = Outcome.DONE) -> CrawlResult:
    return read_result(plan.summary(outcome, 1.5), plan.parts())


@dataclass
class Worker:
    """Does the tasks of a plan in an order of its own, some of them twice."""

    plan: CrawlPlan
    site: Site
    chance: random.Random
    fetched: list[str] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)
    held: list[tuple[int, str]] = field(default_factory=list)
    done: list[tuple[int, str]] = field(default_factory=list)

    def step(self) -> None:
        for task in self.plan.next_tasks(self.chance.randrange(4)):
            url = read_page_task(task.payload).url
            assert task.number not in self.numbers
            self.numbers.add(task.number)
            self.fetched.append(url)
            self.held.append((task.number, url))
        if self.held:
            number, url = self.held.pop(self.chance.randrange(len(self.held)))
            self.plan.fold(number, page(self.site, url))
            self.done.append((number, url))
        if self.done and self.chance.random() < 0.3:  # once more, with another answer
            self.plan.fold(self.chance.choice(self.done)[0], page({}, "http://h/late"))

    def finish(self) -> CrawlResult:
        while not self.plan.is_over():
            self.step()
        assert self.plan.next_tasks(10) == []
        return answer(self.plan)


def crawled(site: Site, spec: CrawlSpec, seed: int = 0) -> CrawlResult:
    return Worker(CrawlPlan(spec), site, random.Random(seed)).finish()


def model(site: Site, spec: CrawlSpec) -> CrawlResult:
    """The plainest breadth-first search."""
    levels, seen, taken = [[HOME]], {HOME}, 0
    fetched, failed, skipped = 0, [], []
    for _ in range(spec.depth):
        level = []
        for url in levels[-1]:
            if spec.scope is Scope.HOST and not url.startswith(HOME):
                skipped.append((url, "scope"))
            elif taken == spec.max_pages:
                skipped.append((url, "limit"))
            else:
                taken += 1
                links = site.get(url, [])
                if isinstance(links, str):
                    failed.append((url, links))
                    continue
                fetched += 1
                for link in links:
                    if link not in seen:
                        seen.add(link)
                        level.append(link)
        if not level:
            break
        levels.append(level)
    cut = "limit" in {reason for _, reason in skipped}
    return CrawlResult(HOME, spec.depth, Outcome.DONE, cut, levels, fetched, failed, skipped, 1.5)


URLS = [HOME, *(f"{HOME}{n}" for n in range(12)), *(f"{AWAY}{n}" for n in range(3))]
PAGES = st.one_of(st.lists(st.sampled_from(URLS), max_size=6), st.sampled_from(["timeout", "status_404"]))
SITES = st.dictionaries(st.sampled_from(URLS), PAGES)
SPECS = st.builds(
    CrawlSpec,
    url=st.just(HOME),
    depth=st.integers(0, 6),
    scope=st.sampled_from([Scope.HOST, Scope.ANY]),
    max_pages=st.integers(1, 20),
)


@pytest.mark.slow
@given(SITES, SPECS, st.integers(0, 1000))
@settings(max_examples=400, deadline=None)
def test_any_order_with_repeats_gives_what_the_plainest_search_gives(site: Site, spec: CrawlSpec, seed: int) -> None:
    assert crawled(site, spec, seed) == model(site, spec)


@given(SITES, SPECS, st.integers(0, 1000))
@settings(deadline=None)
def test_no_page_is_taken_twice_and_no_more_pages_than_asked(site: Site, spec: CrawlSpec, seed: int) -> None:
    worker = Worker(CrawlPlan(spec), site, random.Random(seed))
    result = worker.finish()
    assert len(worker.fetched) == len(set(worker.fetched)) == result.fetched + len(result.failed) <= spec.max_pages


@given(SITES, SPECS, st.integers(0, 1000))
@settings(deadline=None)
def test_in_any_order_notes_say_who_linked_to_what_first_and_change_nothing_else(
    site: Site, spec: CrawlSpec, seed: int
) -> None:
    result = crawled(site, structs.replace(spec, detail=True, links=True), seed)
    assert replace(result, parents=None, pages=None, links=None) == model(site, spec)
    listed = [url for level in result.levels for url in level]
    fetched = [url for url in listed if url in (result.pages or {})]
    assert fetched == list(result.pages or {}), "each page once, in the order of the levels"
    noted = {url: answer for url in fetched if (answer := site.get(url, [])) and not isinstance(answer, str)}
    assert result.links == {url: list(dict.fromkeys(links)) for url, links in noted.items()}
    parents: dict[str, str] = {}
    for url, links in result.links.items():
        for link in links:
            if link != HOME:
                parents.setdefault(link, url)
    assert result.parents == parents
    assert {url: page.status for url, page in (result.pages or {}).items()} == {
        url: 0 if isinstance(site.get(url), str) else 200 for url in fetched
    }


@given(SITES, SPECS, st.integers(0, 1000), st.integers(0, 15))
@settings(deadline=None)
def test_a_crawl_that_ends_early_holds_all_that_arrived(site: Site, spec: CrawlSpec, seed: int, steps: int) -> None:
    worker = Worker(CrawlPlan(spec), site, random.Random(seed))
    for _ in range(steps):
        if not worker.plan.is_over():
            worker.step()
    early, over = answer(worker.plan, Outcome.CANCELLED), worker.plan.is_over()
    listed = {url for level in early.levels for url in level}
    arrived = {url for _, url in worker.done}
    assert early.listed == len(listed)
    assert listed == {HOME}.union(*(links for url in arrived if not isinstance(links := site.get(url, []), str)))
    assert early.fetched + len(early.failed) == len(arrived)
    assert early.truncated or over
    assert worker.finish() == model(site, spec), "looking changes nothing"


def test_no_host_is_asked_for_more_pages_at_a_time_than_it_bears() -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=2))
    (start,) = plan.next_tasks(99)
    plan.fold(start.number, page({HOME: [f"{HOME}{n}" for n in range(50)]}, HOME))
    out = plan.next_tasks(99)
    assert len(out) == AT_ONCE_PER_HOST
    assert plan.next_tasks(99) == []
    for _ in range(2):  # a repeat makes no room
        plan.fold(out[3].number, page({}, HOME))
    plan.give_up(out[5].number, "gave_up")
    assert [task.number for task in plan.next_tasks(99)] == [out[-1].number + 1, out[-1].number + 2]


def test_levels_end_where_the_site_does() -> None:
    assert crawled({HOME: [HOME]}, CrawlSpec(HOME, depth=5)).levels == [[HOME]]


def test_depth_0_lists_the_start_page_and_fetches_nothing() -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=0))
    assert plan.is_over()
    assert plan.next_tasks(5) == []
    assert plan.failure() is None
    assert answer(plan).levels == [[HOME]]
    assert answer(plan).fetched == 0


def test_pages_out_of_scope_are_listed_and_said_to_be_skipped_unless_they_are_the_last_level() -> None:
    site: Site = {HOME: [AWAY, f"{HOME}1"], f"{HOME}1": [f"{AWAY}2"]}
    result = crawled(site, CrawlSpec(HOME, depth=2))
    assert result.levels == [[HOME], [AWAY, f"{HOME}1"], [f"{AWAY}2"]]
    assert result.skipped == [(AWAY, "scope")]
    assert not result.truncated


def test_a_cut_page_makes_the_answer_truncated() -> None:
    plan = CrawlPlan(CrawlSpec(HOME))
    (task,) = plan.next_tasks(5)
    plan.fold(task.number, pack(PageResult(HOME, 200, None, [f"{HOME}1"], cut=True)))
    assert answer(plan).truncated


def test_a_crawl_lists_no_more_characters_than_a_master_can_hold() -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=2), listed_chars=1000)
    (task,) = plan.next_tasks(5)
    plan.fold(task.number, page({HOME: [f"{HOME}{n:0100}" for n in range(50)]}, HOME))
    assert 1000 - 110 < sum(len(url) for level in answer(plan).levels for url in level) <= 1000
    assert answer(plan).truncated


@pytest.mark.parametrize("number", [-1, 1, 2**62])
def test_a_result_of_a_task_never_handed_out_changes_nothing(number: int) -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=2))
    plan.next_tasks(1)
    plan.fold(number, page({HOME: [AWAY]}, HOME))
    assert answer(plan).levels == [[HOME]]


def test_a_result_before_its_task_was_handed_out_changes_nothing() -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=2))
    plan.fold(0, page({HOME: [AWAY]}, HOME))
    assert plan.progress().done == 0


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"nonsense", pack([1, 2]), pack({"url": HOME}), pack(["x", 1, None, 5])]
)
def test_bytes_that_are_no_result_are_refused_and_change_nothing(data: bytes) -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=2))
    (task,) = plan.next_tasks(1)
    with pytest.raises(DecodeError):
        plan.fold(task.number, data)
    assert plan.progress().done == 0


@pytest.mark.parametrize("room", [0, -3])
def test_without_room_nothing_is_handed_out(room: int) -> None:
    assert CrawlPlan(CrawlSpec(HOME)).next_tasks(room) == []


def test_a_page_given_up_is_a_failed_page() -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=2))
    (start,) = plan.next_tasks(9)
    plan.fold(start.number, page({HOME: [f"{HOME}1", f"{HOME}2"]}, HOME))
    one, two = plan.next_tasks(9)
    plan.give_up(two.number, "gave_up")
    plan.fold(one.number, page({}, f"{HOME}1"))
    assert plan.is_over()
    assert answer(plan).failed == [(f"{HOME}2", "gave_up")]


@pytest.mark.parametrize(
    ("reason", "code", "advice"),
    [
        ("unresolved", ErrorCode.UNREACHABLE, "spelling"),
        ("unreachable", ErrorCode.UNREACHABLE, "port"),
        ("refused_address", ErrorCode.REFUSED_ADDRESS, "--allow-private"),
        ("tls", ErrorCode.UNREACHABLE, "certificate"),
        ("timeout", ErrorCode.TIMED_OUT, "later"),
        ("too_big", ErrorCode.TOO_BIG, "another"),
        ("redirects", ErrorCode.BAD_CONTENT, "circles"),
        ("bad_redirect", ErrorCode.BAD_CONTENT, "elsewhere"),
        ("bad_response", ErrorCode.BAD_CONTENT, "HTTP"),
        ("status_503", ErrorCode.BAD_STATUS, "503"),
        ("worker_lost", ErrorCode.GAVE_UP, "later"),
    ],
)
def test_a_crawl_whose_start_page_fails_has_failed_and_says_what_to_do(
    reason: str, code: ErrorCode, advice: str
) -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=3))
    (task,) = plan.next_tasks(9)
    plan.fold(task.number, pack(PageResult(HOME, 0, reason)))
    assert plan.is_over()
    failure = plan.failure()
    assert failure is not None
    assert failure.code == code
    assert advice in failure.message
    assert HOME in failure.message
    assert answer(plan, Outcome.FAILED).failed == [(HOME, reason)]


def test_every_reason_has_its_advice() -> None:
    assert not [reason for reason in Failed if start_failure(HOME, reason).code == ErrorCode.GAVE_UP]


@pytest.mark.slow
def test_parts_and_pieces_are_bounded_and_complete() -> None:
    links = [f"{HOME}{n:07}" for n in range(300_000)]
    plan = CrawlPlan(CrawlSpec(HOME, depth=2, max_pages=1))
    (task,) = plan.next_tasks(1)
    assert [piece.level for piece in plan.new_levels()] == [0]
    plan.fold(task.number, page({HOME: links}, HOME))
    pieces = plan.new_levels()
    assert {piece.level for piece in pieces} == {1}
    assert [piece.seq for piece in pieces] == list(range(MAX_PIECES))
    assert max(len(piece.items) for piece in pieces) <= PIECE_BYTES
    assert plan.new_levels() == []
    parts = list(plan.parts())
    assert max(map(len, parts)) <= PART_BYTES
    result = answer(plan)
    assert result.levels == [[HOME], links]
    assert len(result.skipped) == 300_000
    assert result.truncated


def test_progress_rises_with_each_page_of_a_level() -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=3))
    worker = Worker(plan, {HOME: [f"{HOME}{n}" for n in range(20)], f"{HOME}3": [f"{HOME}30"]}, random.Random(5))
    reached = [(0, 0)]
    while not plan.is_over():
        worker.step()
        now = plan.progress()
        assert now.done <= now.known
        reached.append((now.level, now.done))
    assert reached == sorted(reached)


def test_a_result_as_a_dictionary_is_what_the_command_prints() -> None:
    site: Site = {HOME: [AWAY, f"{HOME}1"], f"{HOME}1": "timeout"}
    assert crawled(site, CrawlSpec(HOME, depth=2)).to_dict() == {
        "url": HOME,
        "depth": 2,
        "outcome": "done",
        "truncated": False,
        "levels": [[HOME], [AWAY, f"{HOME}1"]],
        "listed": 3,
        "fetched": 1,
        "failed": [{"url": f"{HOME}1", "reason": "timeout"}],
        "skipped": [{"url": AWAY, "reason": "scope"}],
        "elapsed_s": 1.5,
    }


@pytest.mark.parametrize("part", [b"", b"[]", b'{"level": -1}', b'{"level": 1000000}', b'{"failed": [["x"]]}'])
def test_a_damaged_part_is_refused(part: bytes) -> None:
    plan = CrawlPlan(CrawlSpec(HOME))
    with pytest.raises(DecodeError):
        read_result(plan.summary(Outcome.DONE, 1), [part])


def test_one_host_is_asked_for_a_few_pages_at_a_time_however_much_room_there_is() -> None:
    site: Site = {HOME: [f"http://h/{number}" for number in range(50)] + [AWAY]}
    plan = CrawlPlan(CrawlSpec(url=HOME, depth=2, scope=Scope.ANY))
    (start,) = plan.next_tasks(64)
    plan.fold(start.number, page(site, HOME))
    first = plan.next_tasks(64)
    assert len(first) == AT_ONCE_PER_HOST
    assert plan.next_tasks(64) == []
    plan.fold(first[3].number, page(site, "http://h/3"))
    plan.fold(first[3].number, page(site, "http://h/3"))
    assert len(plan.next_tasks(64)) == 1


def nofollow(url: str, links: list[str], unfollowed: list[str]) -> bytes:
    return pack(PageResult(url, 200, None, links, False, unfollowed))


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_page_is_left_alone_unless_some_page_of_the_level_lets_it_be_followed(order: tuple[int, int]) -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=3))
    plan.fold(plan.next_tasks(1)[0].number, pack(PageResult(HOME, 200, None, [HOME + "a", HOME + "b"])))
    plan.next_tasks(2)
    both, one = HOME + "both", HOME + "one"
    pages = {1: nofollow(HOME + "a", [both, one], [both, one]), 2: nofollow(HOME + "b", [one, both], [one])}
    for number in order:
        plan.fold(number, pages[number])
    assert [read_page_task(task.payload).url for task in plan.next_tasks(9)] == [both]
    assert answer(plan).skipped == [(one, "nofollow")]
    assert answer(plan).levels[2] == [both, one]


def test_only_what_the_patterns_let_through_is_fetched_and_the_reason_says_which_kept_it_out() -> None:
    links = [f"{HOME}docs/a", f"{HOME}docs/a.pdf", f"{HOME}blog", f"{AWAY}docs/a"]
    site: Site = {HOME: list(links), f"{HOME}docs/a": [f"{HOME}docs/deep"]}
    result = crawled(site, CrawlSpec(HOME, depth=2, include=("/docs/*",), exclude=("*.pdf",)))
    assert result.levels == [[HOME], links, [f"{HOME}docs/deep"]]
    assert result.skipped == [
        (f"{HOME}docs/a.pdf", "excluded"),
        (f"{HOME}blog", "not_included"),
        (f"{AWAY}docs/a", "scope"),
    ]


def test_patterns_bind_redirects_too_but_not_those_of_the_start_page() -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=2, include=("/docs/*",)))
    (start,) = plan.next_tasks(1)
    assert read_page_task(start.payload).bounds.allows(f"{HOME}welcome")
    plan.fold(start.number, pack(PageResult(HOME, 200, None, [f"{HOME}docs/a"])))
    (page,) = plan.next_tasks(1)
    assert not read_page_task(page.payload).bounds.allows(f"{HOME}welcome")
