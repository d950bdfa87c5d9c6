"""A framework that holds very many WebSocket connections. It contains nothing about jobs."""

if __name__ == "gateway":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
