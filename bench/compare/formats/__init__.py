"""Ways to write what crosses a process border, for `bench.wire`: the same messages in each format."""
