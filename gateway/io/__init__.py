"""Socket input and output: the poller, transports, batched reads and writes, and how connections are closed."""
