"""Reading pages: encoding, tags, links, and what selectors extract."""
