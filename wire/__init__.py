"""Messages between processes, and the lifecycle of a process. Imports none of the other packages."""

if __name__ == "wire":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
