"""The gateway's process: forking and supervision, memory, kernel settings, signals and metrics."""
