"""Every message between processes, a struct each, a module for each pair that talks.

Inside the system messages are msgpack with structs as arrays: a field may only be added at the end, with
a default. Times that cross a border are durations or wall seconds; leases are measured by the store's clock.
"""
