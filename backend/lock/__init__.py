"""The lock server: it decides which master may work on a job, and stores jobs, requests and results.

`docs/protocol/guarantees.md` defines the rules (I1 to I8, P1 to P32) that this package and the store implement, each
with the attack that it answers.

A lock server holds no state: every decision is a transaction of the store, so any number of identical lock servers may
run side by side. What it adds to the store is batching and an HTTP interface.

States of a job (`roost.backend.jobs`), and what may change them::

    waiting --grant--> running      a master's acquire; a new fencing token each time
    running --grant--> running      another master's acquire, once the lease has expired
    running --release--> waiting    its master, under its token (a deploy costs nothing)
    running --> done, failed, expired, cancelled      its master, under its token
    waiting, running --> failed                       an acquire, when the job has lost too many leases (P16)
    waiting, running --> cancelled, expired           the store's tick: no request waits, or the deadline has passed

The state of a request (`roost.backend.jobs.REQUEST_TABLE`) changes by messages of its client and of its gateway; that
its job has ended is read from the job (P11). Each change first locks the client and the job's row, always in the same
order.

Trust windows. A lease lasts 6 s by the store's clock and is renewed every 2 s. The holder trusts it for 5 s
counted by its own monotonic clock from before it sent the request that granted or renewed it. Then it suspends the job:
it publishes nothing, keeps its state, and continues when a renewal is answered `ok`. So a holder stops before another
master can start, however long answers take (P13).

What fails, and what happens:

* an answer is lost: the same nonce gets the same grant while its lease lasts (P8); everything else may be repeated;
* a lock server dies: the client asks the next one, same request, after 0.8 s (P18);
* a master dies: its lease expires, and the next acquire of any master gets the job under a new token;
* a master is suspended and resumes: its token is old, so each of its writes compares and changes nothing (P14);
* the store was unavailable, or its clock jumped: the tick of a lock server writes the time into one row of the store
  once a second, so that an outage leaves a gap there. For one lease after the gap no master loses a lease, and every
  grace period starts again at the end of the gap, because no client could reconnect before (P15). So
  the death of a gateway is noticed one grace period after it or after the store's last return, whichever is later.
  While a store fails again and again, no request is given up; the jobs of dead clients end by themselves or at their
  deadlines;
* an offer is lost or stays in its queue: a client that asks about the request is told `unknown` after one minute and
  offers it again; then after two minutes, four, and so on, so that no queue fills with repeats while no master
  runs (P12);
* a client is away for longer than its grace: its unfinished requests are given up; finished ones wait for it (P26);
* a result is read when its retention ends: it stays for ten minutes after each part that is read (P28);
* one row of a batch cannot be stored: only this row is refused (P19).

Jobs that crash their masters. Each lease that is lost after a renewal counts, until a level is finished. The job waits
longer each time, and after five lost leases it has failed (P16). From the second lost lease on, the job itself may be
the cause. It is then granted only to a master that runs no other job, and that master takes no other job while the
lease lasts. If all masters are always busy, this would never happen. So when the job could have been granted for 30 s,
the store reserves the next master that asks with a free slot: it grants this master nothing until the master runs
nothing, and then grants this job first. One master at a time is reserved, however many such jobs there are, so that
the others continue. A reserved master that does not ask for 10 s counts as gone, and another is reserved; when the
job's own master renews its lease after all, none is reserved. The wait of a reserved master is bounded by
the time limits (`max_seconds`) of the jobs that it runs, and everything by the deadline of the job.
"""
