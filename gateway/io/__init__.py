"""Bytes in and out of sockets: the poller, transports, reading and writing in batches, and closing."""
