"""Patterns are tried on a level's URLs in bounded steps, and the answer is the one that a single step would give."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from roost.backend.kinds.crawl import plan as plans
from roost.backend.kinds.crawl.globs import Globs
from roost.backend.kinds.crawl.page_tasks import read_page_task
from roost.backend.kinds.crawl.plan import CHOOSING_US, CrawlPlan
from roost.backend.kinds.crawl.spec import CrawlSpec
from tests.kinds.crawl.test_plan import HOME, SITES, SPECS, Site, crawled, page

GLOBS = st.lists(st.sampled_from(["*1*", "*2", "/*", "http://h/3", "http://away/*"]), max_size=2, unique=True).map(
    tuple
)


@pytest.mark.slow
@given(SITES, SPECS, GLOBS, GLOBS, st.integers(0, 1000))
@settings(deadline=None)
def test_small_steps_give_the_same_answer_as_one(
    site: Site, spec: CrawlSpec, include: tuple[str, ...], exclude: tuple[str, ...], seed: int
) -> None:
    spec = structs.replace(spec, include=include, exclude=exclude)
    whole = crawled(site, spec, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "CHOOSING_US", 1)
        assert crawled(site, spec, seed) == whole


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each refusal by patterns costs."""
    costs: list[int] = []
    refusal = Globs.refusal

    def counted(self: Globs, url: str) -> object:
        costs.append(self.cost_us(url))
        return refusal(self, url)

    monkeypatch.setattr(Globs, "refusal", counted)
    return costs


@pytest.mark.slow
def test_no_call_of_a_plan_tries_patterns_for_long_and_all_are_tried_in_the_end(tried: list[int]) -> None:
    links = [f"{HOME}{n}" for n in range(5000)]
    exclude = tuple(f"*{'a*' * 200}{n}zz" for n in range(99))
    plan = CrawlPlan(CrawlSpec(HOME, depth=3, exclude=(*exclude, "*4999", "*1")))
    (start,) = plan.next_tasks(8)
    plan.fold(start.number, page({HOME: links}, HOME))
    fetched = []
    calls = 0
    while not plan.is_over():
        before = len(tried)
        tasks = plan.next_tasks(8)
        assert sum(tried[before:-1]) < CHOOSING_US
        fetched += [read_page_task(task.payload).url for task in tasks]
        for task in tasks:
            plan.fold(task.number, page({}, fetched[-1]))
        calls += 1
    assert calls > 10
    assert fetched == [url for url in links if not url.endswith(("4999", "1"))]


def test_a_level_of_which_all_is_refused_in_many_steps_ends_the_crawl(tried: list[int]) -> None:
    plan = CrawlPlan(CrawlSpec(HOME, depth=3, exclude=tuple(f"*{n}" for n in range(10))))
    (start,) = plan.next_tasks(8)
    plan.fold(start.number, page({HOME: [f"{HOME}{n}" for n in range(3000)]}, HOME))
    assert not plan.is_over()
    chance = random.Random(0)
    while not plan.is_over():
        assert plan.next_tasks(chance.randrange(1, 9)) == []
    assert len(tried) == 3000
