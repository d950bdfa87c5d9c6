"""Jobs: who splits them, who does the pieces, who keeps them, and the client protocol on top of a gateway."""

if __name__ == "backend":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
