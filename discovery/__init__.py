"""Discovery: the registry of live components and their free capacity.

It has an HTTP server for components and clients, and the client code by which a component sends heartbeats to it.
"""

if __name__ == "discovery":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
