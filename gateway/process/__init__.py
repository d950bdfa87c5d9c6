"""What concerns a gateway's process: forking and supervising, memory, kernel settings, signals, metrics."""
