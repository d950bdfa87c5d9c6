"""Sitemaps (sitemaps.org protocol 0.9): reading them, and which of them a crawl reads."""
