"""Discovery: the registry of live components and their free capacity, its HTTP server, and the client that reports."""

if __name__ == "discovery":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
