"""Jobs: masters split them into tasks, workers run the tasks, a store keeps them; and the client protocol."""

if __name__ == "backend":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
