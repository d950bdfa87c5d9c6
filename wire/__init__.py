"""What crosses a process border, and how a process is run. Imports nothing of the other packages."""

if __name__ == "wire":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
