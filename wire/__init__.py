"""What all other packages share: messages, tokens, errors, settings checks, and the lifecycle of a process.

This package imports none of the other packages.
"""

if __name__ == "wire":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
