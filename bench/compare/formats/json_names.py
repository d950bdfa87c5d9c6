"""Encodes the sample messages as JSON objects with full field names, with the standard library's `json`.

This is the usual choice when size does not matter.
"""

from __future__ import annotations

import json
from base64 import b64encode
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
from roost.wire.codec import compress, decompress
from roost.wire.messages.outcome import PART_BYTES


def forms() -> Forms:
    """Return the encoder and decoder of each sample."""
    return {
        TASKS: Form(_tasks, lambda bodies: list(map(json.loads, bodies))),
        RESULT: Form(_result, json.loads),
        OFFER: Form(_offer, json.loads),
        BEATS: Form(_beats, json.loads),
        PART: Form(_part, json.loads),
        PACKED_PART: Form(lambda row: compress(_part(row)), lambda blob: json.loads(decompress(blob, 2 * PART_BYTES))),
    }


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def _tasks(rows: list[TaskRow]) -> list[bytes]:
    return [
        _bytes(
            {
                "job": row.job,
                "token": row.token,
                "task": row.task,
                "kind": row.kind,
                "payload": {
                    "url": row.url,
                    "bounds": {"scope": row.scope, "home": row.home},
                    "max_age_s": row.max_age_s,
                    "since": row.since,
                },
                "reply_to": row.reply_to,
                "deadline_s": row.deadline_s,
                "alone": row.alone,
            }
        )
        for row in rows
    ]


def _result(row: ResultRow) -> bytes:
    data = {"url": row.url, "status": row.status, "reason": None, "links": row.links, "cut": False}
    return _bytes(
        {
            "job": row.job,
            "token": row.token,
            "task": row.task,
            "data": data,
            "later_s": None,
            "error": None,
            "died": row.died,
        }
    )


def _offer(row: OfferRow) -> bytes:
    spec = {
        "url": row.url,
        "depth": row.depth,
        "scope": row.scope,
        "max_pages": row.max_pages,
        "max_age_s": row.max_age_s,
        "max_seconds": row.max_seconds,
    }
    return _bytes(
        {
            "client": b64encode(row.client).decode(),
            "request": row.request,
            "gateway": row.gateway,
            "epoch": row.epoch,
            "kind": row.kind,
            "spec": spec,
            "run_key": b64encode(row.run_key).decode(),
            "fresh_s": row.max_age_s,
            "max_seconds": row.max_seconds,
            "priority": row.priority,
            "stream": row.stream,
        }
    )


def _beats(rows: list[BeatRow]) -> bytes:
    return _bytes(
        [
            {
                "job": row.job,
                "token": row.token,
                "level": row.level,
                "progress": {"done": row.done, "known": row.known},
            }
            for row in rows
        ]
    )


def _part(row: PartRow) -> bytes:
    return _bytes({"job": row.job, "token": row.token, "seq": row.seq, "data": {"level": row.level, "urls": row.urls}})
