"""What crosses a process border, and how a process is run. Imports nothing of the other packages."""
