"""The lock server: who may work on a job, and what is safe.

`docs/protocol/guarantees.md` defines the rules (I1 to I8, P1 to P32) that this package and the store implement, each
with the attack that it answers.

It holds no state of its own: every decision is a transaction of the store, so any number of lock servers may run
side by side and none is special. What it adds is batching, and an HTTP face.

States of a job (`roost.backend.jobs`) and who may move them::

    waiting --grant--> running      a master's acquire; a new fencing token each time
    running --grant--> running      another master's acquire, once the lease has run out
    running --release--> waiting    its master, under its token (a deploy costs nothing)
    running --> done, failed, expired, cancelled      its master, under its token
    waiting, running --> cancelled, expired           the store's tick: nobody waits, or its time is over

A request (`roost.backend.jobs.REQUEST_TABLE`) is moved by its client's words and its gateway's, a job's end is read
from the job (P11). Whoever moves either locks the client and the job's row first, in one order for all.

Trust windows. A lease lasts 6 s by the store's clock and is renewed every 2 s. The holder trusts it for 5 s
counted from before it sent the request that granted or renewed it, by its own monotonic clock; then it suspends:
publishes nothing, keeps its state, and goes on when a beat is answered `ok`. So a holder stops before anybody
else can start, however long answers take (P13).

What fails, and what happens:

* an answer is lost: the same nonce gets the same grant while its lease lasts (P8); everything else may be repeated;
* a lock server dies: the client asks the next one, same request, after 0.8 s (P18);
* a master dies: its lease runs out, the next acquire of any master gets the job under a new token;
* a master sleeps and wakes: its token is old, every write of it compares and changes nothing (P14);
* the store was away, or its clock leapt: for one lease after the gap in its ticking row nobody loses a lease, and every
  grace begins anew where the gap ended, because nobody could come back before (P15). So a gateway that died is noticed
  one grace after its death or the store's last return, whichever is later. While a store flaps nobody is left; what its
  dead clients asked for ends by itself, or at its deadline;
* an offer is lost or stays in its queue: whoever asks about it is told `unknown` after a minute, and offers it again;
  then after two minutes, four, and so on, so that no queue fills with repeats while masters are away (P12);
* a client is away for longer than its grace: it leaves what is unfinished; what ended waits for it (P26);
* a result is read while its retention ends: it stays ten minutes from each part that is read (P28);
* one row of a batch cannot be stored: it alone is refused (P19).

A job that takes its masters with it. Each lease that is lost after a beat counts, until a level is finished; the job
then waits a little longer each time, and after five it has failed (P16). From the second on it might be the job's
fault, so it is granted only to a master that runs nothing, which takes nothing beside it while that lease lasts. Where
every master is always busy that would never be. So when the job could have been granted for 30 s, the next master that
asks with a free slot is kept free for it: the store grants that one nothing until it runs nothing, and then this job
first. One master at a time is kept free, however many such jobs there are, so that the others go on with theirs. A
master that does not ask for 10 s is gone, and another is kept free; if the job's own master beats again, none is. How
long the kept one waits is bounded by `max_seconds` of what it runs, as is everything by the job's own deadline.
"""
