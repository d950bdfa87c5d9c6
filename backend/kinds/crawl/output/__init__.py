"""The result of a crawl as parts, for the way to the client and back."""
