"""Fetching pages over HTTP, from public addresses only."""
