"""The master: a process that acquires jobs, splits them into tasks, and stores their results."""
