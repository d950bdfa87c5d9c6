"""The store in PostgreSQL, shared by all lock servers."""
