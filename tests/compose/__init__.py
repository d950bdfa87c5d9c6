"""The compose file: tests that need no engine, and ``python -m tests.compose``, which runs it for real."""
