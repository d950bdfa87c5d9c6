"""Who is alive and who has room: the registry, its HTTP face, and what components run to be known."""
