"""What masters and gateways say to a lock server, and what it answers: msgpack over HTTP.

`Decision` and `Answer` travel as lists, so that what one sender has to say shares a request and a
commit (P18). Lease renewals and result parts have requests of their own, so that neither waits for the other.

Some messages keep their first names as tags (``Withdraw``, ``Knock``): versions of a system may run side by side, and
functions in the store compare them.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from roost.wire.codec import Unpacker
from roost.wire.messages.outcome import Ending


class Offer(Struct, array_like=True, frozen=True):
    """One accepted request (P4). `gateway` is an incarnation; `spec` is normalised msgpack.

    `run_key` is the same for requests that may share a run, `fresh_s` how old a run may be to be joined.
    """

    client: bytes
    request: str
    gateway: str
    epoch: int
    kind: str
    spec: bytes
    run_key: bytes
    fresh_s: float
    max_seconds: float
    priority: int = 0
    stream: bool = False


class RequestRef(Struct, array_like=True, frozen=True):
    """A client's request that waits for a job, and the gateway where the client was last."""

    client: bytes
    request: str
    gateway: str
    stream: bool


class Grant(Struct, array_like=True, frozen=True):
    """A job is the asking master's, under `token`, for `lease_s` from before it asked (P8, P13)."""

    job: int
    token: int
    kind: str
    spec: bytes
    lease_s: float
    attempt: int
    remaining_s: float
    watchers: list[RequestRef]


class Verdict(StrEnum):
    """What a lock server says to a write under a token."""

    OK = "ok"
    LOST = "lost"
    CANCEL = "cancel"


class Acquire(Struct, array_like=True, tag=True, frozen=True):
    """Store these offers; grant up to `free_slots` of the most urgent jobs (P5). Repeat with the same nonce (P8).

    `running` is how many jobs the master runs: one that has lost leases wants a master for itself (P16).
    """

    master: str
    nonce: bytes
    free_slots: int
    offers: list[Offer] = []
    running: int = 0


class Acquired(Struct, array_like=True, tag=True, frozen=True):
    """Every offer is stored. `ended` are those that need no run: already over, or refused; knock there.

    `is_full`: no offer is stored, for too many jobs wait (P6); they are to be offered again.
    """

    grants: list[Grant]
    ended: list[JobFinished] = []
    is_full: bool = False


class Complete(Struct, array_like=True, tag=True, frozen=True):
    """The job is over, whatever the outcome; parts were put before, under the same token (P24)."""

    job: int
    token: int
    ending: Ending


class Completed(Struct, array_like=True, tag=True, frozen=True):
    """Committed, and who waits for it; or lost, and nothing was written."""

    verdict: Verdict
    watchers: list[RequestRef] = []


class Release(Struct, array_like=True, tag=True, frozen=True):
    """Give the job back unharmed, as on SIGTERM: costs no attempt (P16)."""

    job: int
    token: int


class Attach(Struct, array_like=True, tag=True, frozen=True):
    """The client is at this gateway now and wants these requests (P2, P12)."""

    client: bytes
    epoch: int
    gateway: str
    requests: list[str]


class Acknowledge(Struct, array_like=True, tag=True, frozen=True):
    """The client has the result: forget it."""

    client: bytes
    request: str


class CancelRequest(Struct, array_like=True, tag="Withdraw", frozen=True):
    """The client cancels the request."""

    client: bytes
    request: str


class Detach(Struct, array_like=True, tag=True, frozen=True):
    """These clients are no longer connected to this gateway: their grace begins (P26).

    A client that is there again by a connection later than `epoch` stays, however late this comes (P2). With `requests`
    it is about those alone: a gateway that only infers from them that a client is gone says nothing of later ones.
    """

    gateway: str
    clients: list[bytes]
    epoch: int = 2**53
    requests: list[str] = []


class RequestState(StrEnum):
    """What the store knows of a request."""

    UNKNOWN = "unknown"
    WAITING = "waiting"
    ENDED = "ended"
    EXPIRED = "expired"


class RequestStatus(Struct, array_like=True, frozen=True):
    """One request, its job and, once it ended, how."""

    request: str
    state: RequestState
    job: int = 0
    ending: Ending | None = None


class Statuses(Struct, array_like=True, tag=True, frozen=True):
    """Answer to Attach, Acknowledge, Withdraw, Detach."""

    requests: list[RequestStatus] = []


class Refused(Struct, array_like=True, tag=True, frozen=True):
    """This decision could not be made; its neighbours in the batch were (P19)."""

    code: str
    message: str


Decision = Acquire | Complete | Release | Attach | Acknowledge | CancelRequest | Detach
Answer = Acquired | Completed | Statuses | Refused


class LeaseRenewal(Struct, array_like=True, frozen=True):
    """A master still holds the job; `growth` is a number that only rises with finished work (P17)."""

    job: int
    token: int
    level: int = 0
    growth: int = 0
    progress: bytes = b""


class LeaseAnswer(Struct, array_like=True, frozen=True):
    """Whether the job is still the master's, and who waits for it now."""

    verdict: Verdict
    watchers: list[RequestRef] = []


class PutPart(Struct, array_like=True, frozen=True):
    """One compressed part of a result, at most PART_BYTES before compression."""

    job: int
    token: int
    seq: int
    data: bytes


class ReadParts(Struct, array_like=True, frozen=True):
    """Ask for `count` parts from `first` on, of the run that ended the job."""

    job: int
    token: int
    first: int
    count: int


class GatewayPoll(Struct, array_like=True, frozen=True):
    """A gateway incarnation lives, and asks which of its requests ended without an acknowledgement (P26)."""

    gateway: str


class FinishedRequests(Struct, array_like=True, frozen=True):
    """They, at most MAX_IDS; and those (client, request) whose offer never came: `unknown` (P12)."""

    knocks: list[JobFinished]
    unknown: list[tuple[bytes, str]] = []


class JobFinished(Struct, array_like=True, frozen=True, tag="Knock"):
    """A job ended; these requests (client, request) at this gateway wait for it. `only_part` saves a fetch."""

    gateway: str
    job: int
    requests: list[tuple[bytes, str]]
    ending: Ending
    only_part: bytes | None = None


read_offer: Unpacker[Offer] = Unpacker(Offer, "offer")
read_decisions: Unpacker[list[Decision]] = Unpacker(list[Decision], "list of decisions")
read_answers: Unpacker[list[Answer]] = Unpacker(list[Answer], "list of answers")
read_lease_renewals: Unpacker[list[LeaseRenewal]] = Unpacker(list[LeaseRenewal], "list of lease beats")
read_lease_answers: Unpacker[list[LeaseAnswer]] = Unpacker(list[LeaseAnswer], "list of lease answers")
read_put_part: Unpacker[PutPart] = Unpacker(PutPart, "result part")
read_read_parts: Unpacker[ReadParts] = Unpacker(ReadParts, "request for parts")
read_parts: Unpacker[list[bytes]] = Unpacker(list[bytes], "list of parts")
read_gateway_poll: Unpacker[GatewayPoll] = Unpacker(GatewayPoll, "sweep")
read_finished_requests: Unpacker[FinishedRequests] = Unpacker(FinishedRequests, "sweep answer")
read_verdict: Unpacker[Verdict] = Unpacker(Verdict, "verdict")
