"""The state of connections, and decisions about it. This package does no socket I/O.

It has the connection table, arrays for the data of applications, counters, rate limits, the timing wheel and keepalive.
"""
