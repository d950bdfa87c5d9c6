"""The job system behind the gateways: masters split jobs into tasks, workers run the tasks, and a store keeps results.

The package `client_protocol` connects it to clients: it is the application that runs in a gateway.

Docstrings cite rules by number: I1 to I8 are invariants and P1 to P32 are rules of the protocol, all defined in
`docs/protocol/guarantees.md`. "Pure" means that a module does no I/O and reads neither a clock nor random numbers.
"""

if __name__ == "backend":  # imported by the folder's own name, in a clone
    from roost.folders import hand_over

    hand_over(__name__)
