"""Proof over real processes and real engines that leases hold: whatever dies, wherever a job is, nothing is lost.

A cell of the matrix is a point of a job's way (`roost.wire.failpoints`) and a fault. Two clients ask for jobs in a
lane, a small deployment; the process that reaches the point stops itself there; the fault happens; the process goes on,
unless it was the victim; who is missing is started again. Then each client must have what it asked for, once, and
nothing of anybody else's, and the store must say so too, with tokens that only rose: ``python -m tests.faults --help``.
"""
