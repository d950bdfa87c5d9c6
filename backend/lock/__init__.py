"""The lock server: who may work on a job, and what is safe.

It holds no state of its own: every decision is a transaction of the store, so any number of lock servers may run
side by side and none is special. What it adds is batching, and an HTTP face.

States of a job (`backend.jobs`) and who may move them::

    waiting --grant--> running      a master's acquire; a new fencing token each time
    running --grant--> running      another master's acquire, once the lease has run out
    running --release--> waiting    its master, under its token (a deploy costs nothing)
    running --> done, failed, expired, cancelled      its master, under its token
    waiting, running --> cancelled, expired           the store's tick: nobody waits, or its time is over

Trust windows. A lease lasts 6 s by the store's clock and is renewed every 2 s. The holder trusts it for 5 s
counted from before it sent the request that granted or renewed it, by its own monotonic clock; then it suspends:
publishes nothing, keeps its state, and goes on when a beat is answered `ok`. So a holder stops before anybody
else can start, however long answers take (P13).

What fails, and what happens:

* an answer is lost: the same nonce gets the same grant while its lease lasts (P8); everything else may be repeated;
* a lock server dies: the client asks the next one, same request, after 0.8 s (P18);
* a master dies: its lease runs out, the next acquire of any master gets the job under a new token;
* a master sleeps and wakes: its token is old, every write of it compares and changes nothing (P14);
* the store was away: a gap in its ticking row keeps everybody's lease for one lease more (P15).
"""
