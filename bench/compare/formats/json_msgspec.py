"""Encodes the sample messages as JSON with msgspec, as objects with field names or as arrays without them.

Decoding checks each message against its type.
"""

from __future__ import annotations

from typing import Any

import msgspec

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
from roost.wire.codec import compress, decompress, to_json
from roost.wire.messages.outcome import PART_BYTES


class Shapes:
    """The struct type of each message, and functions that encode samples with them.

    A message of the job kind is a nested struct here, and not a bytes field.
    """

    def __init__(self, array_like: bool) -> None:
        def struct(name: str, **fields: Any) -> Any:
            return msgspec.defstruct(name, list(fields.items()), array_like=array_like, frozen=True)

        self.bounds = struct("Bounds", scope=str, home=str)
        self.page = struct("Page", url=str, bounds=self.bounds, max_age_s=float, since=float)
        self.task = struct(
            "Task",
            job=int,
            token=int,
            task=int,
            kind=str,
            payload=self.page,
            reply_to=str,
            deadline_s=float,
            alone=bool,
        )
        self.fetched = struct("Fetched", url=str, status=int, reason=str | None, links=list[str], cut=bool)
        self.result = struct(
            "Result", job=int, token=int, task=int, data=self.fetched, later_s=float | None, error=str | None, died=bool
        )
        self.spec = struct("Spec", url=str, depth=int, scope=str, max_pages=int, max_age_s=float, max_seconds=float)
        self.offer = struct(
            "Offer",
            client=bytes,
            request=str,
            gateway=str,
            epoch=int,
            kind=str,
            spec=self.spec,
            run_key=bytes,
            fresh_s=float,
            max_seconds=float,
            priority=int,
            stream=bool,
        )
        self.progress = struct("Progress", done=int, known=int)
        self.beat = struct("Beat", job=int, token=int, level=int, progress=self.progress)
        self.level = struct("Level", level=int, urls=list[str])
        self.part = struct("Part", job=int, token=int, seq=int, data=self.level)

    def tasks(self, rows: list[TaskRow]) -> list[bytes]:
        """Encode each task as a message of its own."""
        task, page, bounds = self.task, self.page, self.bounds
        return [
            to_json(
                task(
                    row.job,
                    row.token,
                    row.task,
                    row.kind,
                    page(row.url, bounds(row.scope, row.home), row.max_age_s, row.since),
                    row.reply_to,
                    row.deadline_s,
                    row.alone,
                )
            )
            for row in rows
        ]

    def of_result(self, row: ResultRow) -> bytes:
        """Encode a task result as one message."""
        fetched = self.fetched(row.url, row.status, None, row.links, False)
        return to_json(self.result(row.job, row.token, row.task, fetched, None, None, row.died))

    def of_offer(self, row: OfferRow) -> bytes:
        """Encode an offer as one message."""
        spec = self.spec(row.url, row.depth, row.scope, row.max_pages, row.max_age_s, row.max_seconds)
        return to_json(
            self.offer(
                row.client,
                row.request,
                row.gateway,
                row.epoch,
                row.kind,
                spec,
                row.run_key,
                row.max_age_s,
                row.max_seconds,
                row.priority,
                row.stream,
            )
        )

    def beats(self, rows: list[BeatRow]) -> bytes:
        """Encode all lease renewals as one message."""
        beat, progress = self.beat, self.progress
        return to_json([beat(row.job, row.token, row.level, progress(row.done, row.known)) for row in rows])

    def of_part(self, row: PartRow) -> bytes:
        """Encode a part of a result as one message."""
        return to_json(self.part(row.job, row.token, row.seq, self.level(row.level, row.urls)))


def forms(array_like: bool) -> Forms:
    """Return the encoder and decoder of each sample; `array_like` selects arrays instead of objects."""
    shapes = Shapes(array_like)
    read_task, read_part = (msgspec.json.Decoder(kind).decode for kind in (shapes.task, shapes.part))
    return {
        TASKS: Form(shapes.tasks, lambda bodies: list(map(read_task, bodies))),
        RESULT: Form(shapes.of_result, msgspec.json.Decoder(shapes.result).decode),
        OFFER: Form(shapes.of_offer, msgspec.json.Decoder(shapes.offer).decode),
        BEATS: Form(shapes.beats, msgspec.json.Decoder(list[shapes.beat]).decode),  # type: ignore[name-defined]
        PART: Form(shapes.of_part, read_part),
        PACKED_PART: Form(
            lambda row: compress(shapes.of_part(row)), lambda blob: read_part(decompress(blob, 2 * PART_BYTES))
        ),
    }
