"""The state of connections: slots, columns, counters, deadlines and keepalive. No socket is touched here."""
