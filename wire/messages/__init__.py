"""All messages between processes: one struct for each message, one module for each pair of peers.

Messages inside the system are msgpack with structs as arrays, so a new field may only be added at the end, with
a default. Times in messages are durations or wall seconds; leases are measured by the store's clock.
"""
