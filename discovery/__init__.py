"""Who is alive and who has room: the registry, its HTTP face, and what components run to be known."""

if __name__ == "discovery":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
