"""The sample messages that `bench.compare.wire` encodes in each format, as plain Python values.

They have the fields and sizes of Roost's real messages. Their content is random, but the same in every run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

TASKS = "64 tasks, a message each"
RESULT = "task result with 100 links"
OFFER = "offer"
BEATS = "64 lease beats in one message"
PART = "result part of 1,000 URLs"
PACKED_PART = "the same part, zstd"

_WORDS = (
    "about account api archive article author blog build catalog category changes chapter concept config contact"
    " context database design download error events example feature filter forum function gallery guide history"
    " index install introduction journal language library license list manual member message module network news"
    " object operator option overview package page performance plan policy post press privacy product project"
    " protocol query reference release replication report research resource review role schema search security"
    " server service session setting statement status storage story support syntax system table thread tool"
    " topic trigger tutorial type update upgrade user value version view window"
)

_HOST = "www.example.org"


class TaskRow(NamedTuple):
    """A task of a crawl: one page to fetch, which a master sends to a worker."""

    job: int
    token: int
    task: int
    kind: str
    url: str
    scope: str
    home: str
    max_age_s: float
    since: float
    reply_to: str
    deadline_s: float
    alone: bool


class ResultRow(NamedTuple):
    """A task result: a fetched page and its links, which a worker sends to a master."""

    job: int
    token: int
    task: int
    url: str
    status: int
    links: list[str]
    died: bool


class OfferRow(NamedTuple):
    """An offer: an accepted request, on its way from a gateway to the store.

    The fields from `url` to `max_seconds` are the specification of the crawl.
    """

    client: bytes
    request: str
    gateway: str
    epoch: int
    kind: str
    url: str
    depth: int
    scope: str
    max_pages: int
    max_age_s: float
    max_seconds: float
    run_key: bytes
    priority: int
    stream: bool


class BeatRow(NamedTuple):
    """A lease renewal of a job, which a master sends to a lock server; `done` and `known` count pages."""

    job: int
    token: int
    level: int
    done: int
    known: int


class PartRow(NamedTuple):
    """A part of a result, which a master sends to a lock server to be stored."""

    job: int
    token: int
    seq: int
    level: int
    urls: list[str]


class Form(NamedTuple):
    """The encoder and decoder of one sample in one format.

    `encode` creates the format's own objects from the values, and returns them as bytes: one message, or a list of
    them. `decode` returns objects in which every field is a Python value.
    """

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


Forms = dict[str, Form]
"""Encoders and decoders by the name of the sample."""


def samples() -> dict[str, Any]:
    """Return the values of each sample by its name. They are the same in every run."""
    draw = random.Random(4)
    urls = _urls(draw, 1000)
    master, gateway = draw.randbytes(8).hex(), draw.randbytes(8).hex()
    reply_to = f"reply.{master}"
    part = PartRow(48_213, 7_002_411, 2, 2, urls)
    return {
        TASKS: [
            TaskRow(
                job=48_213,
                token=7_002_411,
                task=112 + number,
                kind="crawl",
                url=url,
                scope="host",
                home="example.org",
                max_age_s=300.0,
                since=1_795_000_000.123,
                reply_to=reply_to,
                deadline_s=60.0,
                alone=False,
            )
            for number, url in enumerate(urls[:64])
        ],
        RESULT: ResultRow(48_213, 7_002_411, 131, urls[19], 200, urls[:100], False),
        OFFER: OfferRow(
            client=draw.randbytes(16),
            request=draw.randbytes(8).hex(),
            gateway=gateway,
            epoch=1_795_000_000_123,
            kind="crawl",
            url=f"https://{_HOST}/docs/",
            depth=2,
            scope="host",
            max_pages=10_000,
            max_age_s=300.0,
            max_seconds=3600.0,
            run_key=draw.randbytes(16),
            priority=0,
            stream=True,
        ),
        BEATS: [BeatRow(48_213 + number, 7_002_411 + number, 2, draw.randrange(500), 1057) for number in range(64)],
        PART: part,
        PACKED_PART: part,
    }


def _urls(draw: random.Random, count: int) -> list[str]:
    """Return distinct URLs of one site, ordered as on real pages: neighbours have long common beginnings."""
    words, found = _WORDS.split(), dict[str, None]()
    while len(found) < count:
        folder = "/".join(draw.sample(words, draw.randint(1, 2)))
        for _ in range(draw.randint(1, 12)):
            page = "-".join(draw.sample(words, draw.randint(1, 3)))
            found[f"https://{_HOST}/{folder}/{page}.html"] = None
    return list(found)[:count]
