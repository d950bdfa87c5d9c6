"""Encodes the sample messages with Protocol Buffers, with Google's package (upb, in C).

The messages are described in this module at run time, so that no code has to be generated. Parsing does not create
Python values; each one is created when its field is read. Therefore decoding here reads every field, as a receiver of
the message would.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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
from roost.wire.codec import compress, decompress
from roost.wire.messages.outcome import PART_BYTES

_PACKAGE = "roost.bench"

_MESSAGES = {
    "Page": "string url, string scope, string home, double max_age_s, double since",
    "Task": "uint64 job, uint64 token, uint32 task, string kind, Page payload, string reply_to, double deadline_s,"
    " bool alone",
    "Fetched": "string url, uint32 status, string reason, repeated string links, bool cut",
    "Result": "uint64 job, uint64 token, uint32 task, Fetched data, double later_s, string error, bool died",
    "Spec": "string url, uint32 depth, string scope, uint32 max_pages, double max_age_s, double max_seconds",
    "Offer": "bytes client, string request, string gateway, uint64 epoch, string kind, Spec spec, bytes run_key,"
    " double fresh_s, double max_seconds, uint32 priority, bool stream",
    "Beat": "uint64 job, uint64 token, uint32 level, uint32 done, uint32 known",
    "Beats": "repeated Beat beats",
    "Part": "uint64 job, uint64 token, uint32 seq, uint32 level, repeated string urls",
}
"""The fields of each message: type and name, in the order of their field numbers."""


def _described() -> dict[str, Any]:
    """Return the generated class of each message, by name."""
    proto = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="roost_bench.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, text in enumerate(fields.split(","), 1):
            *repeated, kind, field_name = text.split()
            field = message.field.add(name=field_name, number=number)
            field.label = proto.LABEL_REPEATED if repeated else proto.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = proto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = proto.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


class Messages:
    """Creates messages of each type from samples, and parses them."""

    def __init__(self) -> None:
        self._classes = _described()

    def tasks(self, rows: list[TaskRow]) -> list[Any]:
        """Return one message for each task."""
        task, page = self._classes["Task"], self._classes["Page"]
        return [
            task(
                job=row.job,
                token=row.token,
                task=row.task,
                kind=row.kind,
                payload=page(url=row.url, scope=row.scope, home=row.home, max_age_s=row.max_age_s, since=row.since),
                reply_to=row.reply_to,
                deadline_s=row.deadline_s,
                alone=row.alone,
            )
            for row in rows
        ]

    def result(self, row: ResultRow) -> Any:
        """Return the message of a task result."""
        data = self._classes["Fetched"](url=row.url, status=row.status, links=row.links)
        return self._classes["Result"](job=row.job, token=row.token, task=row.task, data=data, died=row.died)

    def offer(self, row: OfferRow) -> Any:
        """Return the message of an offer."""
        spec = self._classes["Spec"](
            url=row.url,
            depth=row.depth,
            scope=row.scope,
            max_pages=row.max_pages,
            max_age_s=row.max_age_s,
            max_seconds=row.max_seconds,
        )
        return self._classes["Offer"](
            client=row.client,
            request=row.request,
            gateway=row.gateway,
            epoch=row.epoch,
            kind=row.kind,
            spec=spec,
            run_key=row.run_key,
            fresh_s=row.max_age_s,
            max_seconds=row.max_seconds,
            priority=row.priority,
            stream=row.stream,
        )

    def beats(self, rows: list[BeatRow]) -> Any:
        """Return one message with all lease renewals."""
        beat = self._classes["Beat"]
        return self._classes["Beats"](
            beats=[
                beat(
                    job=row.job,
                    token=row.token,
                    level=row.level,
                    done=row.done,
                    known=row.known,
                )
                for row in rows
            ]
        )

    def part(self, row: PartRow) -> Any:
        """Return the message of a part of a result."""
        return self._classes["Part"](job=row.job, token=row.token, seq=row.seq, level=row.level, urls=row.urls)

    def parser(self, name: str) -> Any:
        """Return the function that parses bytes as a message of this type."""
        return self._classes[name].FromString


def _read_task(task: Any) -> Any:
    page = task.payload
    return (
        task.job,
        task.token,
        task.task,
        task.kind,
        page.url,
        page.scope,
        page.home,
        page.max_age_s,
        page.since,
        task.reply_to,
        task.deadline_s,
        task.alone,
    )


def _read_result(result: Any) -> Any:
    data = result.data
    fetched = (data.url, data.status, data.reason, list(data.links), data.cut)
    return result.job, result.token, result.task, fetched, result.later_s, result.error, result.died


def _read_offer(offer: Any) -> Any:
    spec = offer.spec
    return (
        offer.client,
        offer.request,
        offer.gateway,
        offer.epoch,
        offer.kind,
        (spec.url, spec.depth, spec.scope, spec.max_pages, spec.max_age_s, spec.max_seconds),
        offer.run_key,
        offer.fresh_s,
        offer.max_seconds,
        offer.priority,
        offer.stream,
    )


def _read_beats(beats: Any) -> Any:
    return [(beat.job, beat.token, beat.level, beat.done, beat.known) for beat in beats.beats]


def _read_part(part: Any) -> Any:
    return part.job, part.token, part.seq, part.level, list(part.urls)


def forms() -> Forms:
    """Return the encoder and decoder of each sample."""
    made = Messages()
    task, result, offer, beats, part = map(made.parser, ("Task", "Result", "Offer", "Beats", "Part"))
    return {
        TASKS: Form(
            lambda rows: [message.SerializeToString() for message in made.tasks(rows)],
            lambda bodies: [_read_task(task(body)) for body in bodies],
        ),
        RESULT: Form(lambda row: made.result(row).SerializeToString(), lambda body: _read_result(result(body))),
        OFFER: Form(lambda row: made.offer(row).SerializeToString(), lambda body: _read_offer(offer(body))),
        BEATS: Form(lambda rows: made.beats(rows).SerializeToString(), lambda body: _read_beats(beats(body))),
        PART: Form(lambda row: made.part(row).SerializeToString(), lambda body: _read_part(part(body))),
        PACKED_PART: Form(
            lambda row: compress(made.part(row).SerializeToString()),
            lambda blob: _read_part(part(decompress(blob, PART_BYTES))),
        ),
    }
