"""State of connections: slots, columns, counters, the timing wheel and keepalive. This package does no socket I/O."""
