"""The store in PostgreSQL: what `engine` says, in one place for all lock servers."""
