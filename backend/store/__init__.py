"""Durable storage of jobs, requests and results: the port, and two engines (SQLite and PostgreSQL)."""
