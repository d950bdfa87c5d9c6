"""The worker: a process that runs tasks, and ends itself when a task blocks it."""
