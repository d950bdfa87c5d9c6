"""All messages between processes, with one struct for each message.

There is one module for each kind of partner: `client` (clients), `lock` (lock servers), `work` (the message broker),
`registry` and `moving` (discovery). `outcome` has types that several of them use.

Messages inside the system are msgpack with structs as arrays, so a new field may only be added at the end, with
a default. Times in messages are durations or wall-clock seconds. Leases are measured by the clock of the store, which
is the job database. `docs/protocol/guarantees.md` defines the rules that are cited by number, such as I1 and P18.
"""
