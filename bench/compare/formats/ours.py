"""Encodes the sample messages in Roost's own format: msgpack arrays, by msgspec.

A message of the job kind (a page task, a page result, a spec) is packed first, and becomes one bytes field of the
general message. A part of a result is the JSON that the client receives; no component between the master and the client
parses it.
"""

from __future__ import annotations

from typing import Any

from bench.compare.formats.samples import (
    BEATS,
    OFFER,
    PACKED_PART,
    PART,
    RESULT,
    TASKS,
    BeatRow,
    Form,
    Forms,
    OfferRow,
    PartRow,
    ResultRow,
    TaskRow,
)
from roost.backend.kinds.crawl.output.crawl_result import Part, Reasons, result_parts
from roost.backend.kinds.crawl.page_tasks import (
    PageResult,
    PageTask,
    read_page_result,
    read_page_task,
)
from roost.backend.kinds.crawl.spec import CrawlSpec, unpack_spec
from roost.backend.kinds.crawl.urls import Bounds, Scope
from roost.wire.codec import JsonReader, Unpacker, compress, decompress, pack
from roost.wire.messages.lock import (
    LeaseRenewal,
    Offer,
    PutPart,
    read_lease_renewals,
    read_offer,
    read_put_part,
)
from roost.wire.messages.outcome import PART_BYTES
from roost.wire.messages.work import Task, TaskResult, read_task, read_task_result

_read_part: JsonReader[Part] = JsonReader(Part, "crawl part")
_read_progress: Unpacker[list[int]] = Unpacker(list[int], "progress")


def forms() -> Forms:
    """Return the encoder and decoder of each sample."""
    return {
        TASKS: Form(_tasks, lambda bodies: list(map(_read_task, bodies))),
        RESULT: Form(_result, _read_result),
        OFFER: Form(_offer, _read_offer),
        BEATS: Form(_beats, _read_beats),
        PART: Form(lambda row: _put(row, _json(row)), _read_put),
        PACKED_PART: Form(lambda row: _put(row, compress(_json(row))), _read_packed_put),
    }


def _tasks(rows: list[TaskRow]) -> list[bytes]:
    return [
        pack(
            Task(
                row.job,
                row.token,
                row.task,
                row.kind,
                pack(PageTask(row.url, Bounds(Scope(row.scope), row.home), row.max_age_s, row.since)),
                row.reply_to,
                row.deadline_s,
                row.alone,
            )
        )
        for row in rows
    ]


def _read_task(body: bytes) -> Any:
    task = read_task(body)
    return task, read_page_task(task.payload)


def _result(row: ResultRow) -> bytes:
    page = pack(PageResult(row.url, row.status, None, row.links))
    return pack(TaskResult(row.job, row.token, row.task, page, died=row.died))


def _read_result(body: bytes) -> Any:
    result = read_task_result(body)
    return result, read_page_result(result.data)


def _offer(row: OfferRow) -> bytes:
    spec = CrawlSpec(row.url, row.depth, Scope(row.scope), row.max_pages, row.max_age_s, row.max_seconds)
    return pack(
        Offer(
            row.client,
            row.request,
            row.gateway,
            row.epoch,
            row.kind,
            pack(spec),
            row.run_key,
            row.max_age_s,
            row.max_seconds,
            row.priority,
            row.stream,
        )
    )


def _read_offer(body: bytes) -> Any:
    offer = read_offer(body)
    return offer, unpack_spec(offer.spec)


def _beats(rows: list[BeatRow]) -> bytes:
    return pack([LeaseRenewal(row.job, row.token, row.level, progress=pack([row.done, row.known])) for row in rows])


def _read_beats(body: bytes) -> Any:
    return [(beat, _read_progress(beat.progress)) for beat in read_lease_renewals(body)]


def _json(row: PartRow) -> bytes:
    levels: list[list[str]] = [[]] * row.level
    return next(result_parts([*levels, row.urls], Reasons(), Reasons()))


def _put(row: PartRow, data: bytes) -> bytes:
    return pack(PutPart(row.job, row.token, row.seq, data))


def _read_put(body: bytes) -> Any:
    put = read_put_part(body)
    return put, _read_part(put.data)


def _read_packed_put(body: bytes) -> Any:
    put = read_put_part(body)
    return put, _read_part(decompress(put.data, PART_BYTES))
