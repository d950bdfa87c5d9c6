"""SQLite and PostgreSQL compared: every small state, every decision, every order of two."""
