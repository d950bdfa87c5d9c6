"""Formats for messages between processes, compared by `bench.compare.wire`: each module encodes the same messages."""
