"""Kinds of job: the interface that each kind implements, the registry, and the built-in crawl."""
