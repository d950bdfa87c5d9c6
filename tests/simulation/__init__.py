"""The whole system on one virtual clock: masters, workers, gateways, lock servers, store, clients, and their bad luck.

Everything here is the product's own code but for what lies between processes: HTTP, WebSockets and kill -9 are played
by `nodes`, `network` and `doors`, which lose, delay, double and cut by a seed, let processes stand still, and kill them
at any of the named failpoints. A minute passes in a second; a seed that fails fails again:
``python -m tests.simulation --seed N``.
"""
