"""Messages between a lock server and its callers, which are masters and gateways: msgpack over HTTP.

`Decision` and `Answer` are sent as lists, so that all decisions of one sender share a request and a commit (P18). Lease
renewals and result parts have requests of their own, so that neither waits for the other.

Some messages keep their first names as tags (``Withdraw``, ``Knock``), because different versions of Roost may run in
one system, and functions in the database compare these tags.

`docs/protocol/guarantees.md` defines the rules that are cited by number, such as P18.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from roost.wire.codec import Unpacker
from roost.wire.messages.outcome import Ending


class Offer(Struct, array_like=True, frozen=True):
    """One accepted request (P4). `gateway` is an incarnation; `spec` is normalised msgpack.

    Requests with the same `run_key` may share a run; `fresh_s` is the greatest age in seconds of a run that they join.
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
    """A client's request that waits for a job, and the gateway to which the client connected last."""

    client: bytes
    request: str
    gateway: str
    stream: bool


class Grant(Struct, array_like=True, frozen=True):
    """The asking master holds the job under `token`, for `lease_s` seconds from when it sent its request (P8, P13)."""

    job: int
    token: int
    kind: str
    spec: bytes
    lease_s: float
    attempt: int
    remaining_s: float
    watchers: list[RequestRef]


class Verdict(StrEnum):
    """A lock server's answer to a write under a token."""

    OK = "ok"
    LOST = "lost"
    CANCEL = "cancel"


class Acquire(Struct, array_like=True, tag=True, frozen=True):
    """Store these offers, and grant up to `free_slots` of the most urgent jobs (P5). Repeat with the same nonce (P8).

    `running` is how many jobs the master runs. A job whose leases have expired before needs a master that runs no other
    job (P16).
    """

    master: str
    nonce: bytes
    free_slots: int
    offers: list[Offer] = []
    running: int = 0


class Acquired(Struct, array_like=True, tag=True, frozen=True):
    """Every offer is stored. `ended` has those that need no run, because they are over already or were refused.

    The master forwards `ended` to the gateways. `is_full`: no offer was stored, because too many jobs wait (P6); the
    offers have to be sent again.
    """

    grants: list[Grant]
    ended: list[JobFinished] = []
    is_full: bool = False


class Complete(Struct, array_like=True, tag=True, frozen=True):
    """The job is over, with any outcome. Its parts were stored before, under the same token (P24)."""

    job: int
    token: int
    ending: Ending


class Completed(Struct, array_like=True, tag=True, frozen=True):
    """The end of the job is committed, and `watchers` wait for it; or the lease was lost, and nothing was written."""

    verdict: Verdict
    watchers: list[RequestRef] = []


class Release(Struct, array_like=True, tag=True, frozen=True):
    """Give an unfinished job back, as on SIGTERM. This does not count as an attempt (P16)."""

    job: int
    token: int


class Attach(Struct, array_like=True, tag=True, frozen=True):
    """The client is connected to this gateway now and waits for these requests (P2, P12)."""

    client: bytes
    epoch: int
    gateway: str
    requests: list[str]


class Acknowledge(Struct, array_like=True, tag=True, frozen=True):
    """The client has the result, so the store may delete it."""

    client: bytes
    request: str


class CancelRequest(Struct, array_like=True, tag="Withdraw", frozen=True):
    """The client cancels the request."""

    client: bytes
    request: str


class Detach(Struct, array_like=True, tag=True, frozen=True):
    """These clients are no longer connected to this gateway: their grace period begins (P26).

    A client that has reconnected with an epoch later than `epoch` is not affected, however late this message comes
    (P2). With `requests` it affects those requests alone: a gateway that only infers from them that a client is gone
    knows nothing about later requests.
    """

    gateway: str
    clients: list[bytes]
    epoch: int = 2**53
    requests: list[str] = []


class RequestState(StrEnum):
    """The state of a request in the store."""

    UNKNOWN = "unknown"
    WAITING = "waiting"
    ENDED = "ended"
    EXPIRED = "expired"


class RequestStatus(Struct, array_like=True, frozen=True):
    """The state of one request, its job and, once the job is over, how it ended."""

    request: str
    state: RequestState
    job: int = 0
    ending: Ending | None = None


class Statuses(Struct, array_like=True, tag=True, frozen=True):
    """The answer to Attach, Acknowledge, CancelRequest and Detach."""

    requests: list[RequestStatus] = []


class Refused(Struct, array_like=True, tag=True, frozen=True):
    """This decision failed; the other decisions of the batch were made (P19)."""

    code: str
    message: str


Decision = Acquire | Complete | Release | Attach | Acknowledge | CancelRequest | Detach
Answer = Acquired | Completed | Statuses | Refused


class LeaseRenewal(Struct, array_like=True, frozen=True):
    """A master renews the lease of a job.

    `unused` was a number that nothing read; fields keep their places (P39), for masters of 0.1.
    """

    job: int
    token: int
    level: int = 0
    unused: int = 0
    progress: bytes = b""


class LeaseAnswer(Struct, array_like=True, frozen=True):
    """Whether the master still holds the job, and the requests that wait for it now."""

    verdict: Verdict
    watchers: list[RequestRef] = []


class PutPart(Struct, array_like=True, frozen=True):
    """One compressed part of a result, at most PART_BYTES before compression."""

    job: int
    token: int
    seq: int
    data: bytes


class ReadParts(Struct, array_like=True, frozen=True):
    """Ask for `count` parts, starting with number `first`, of the run that ended the job."""

    job: int
    token: int
    first: int
    count: int


class GatewayPoll(Struct, array_like=True, frozen=True):
    """A gateway incarnation is alive, and asks which of its requests ended and are not acknowledged (P26)."""

    gateway: str


class FinishedRequests(Struct, array_like=True, frozen=True):
    """The answer to GatewayPoll, with at most MAX_IDS requests.

    `unknown` has the (client, request) pairs whose offer never arrived (P12).
    """

    knocks: list[JobFinished]
    unknown: list[tuple[bytes, str]] = []


class JobFinished(Struct, array_like=True, frozen=True, tag="Knock"):
    """A job ended, and these requests (client, request) at this gateway wait for it.

    `only_part` is the result's only part, where it has just one; the gateway then need not fetch it.
    """

    gateway: str
    job: int
    requests: list[tuple[bytes, str]]
    ending: Ending
    only_part: bytes | None = None


read_offer: Unpacker[Offer] = Unpacker(Offer, "offer")
read_decisions: Unpacker[list[Decision]] = Unpacker(list[Decision], "list of decisions")
read_answers: Unpacker[list[Answer]] = Unpacker(list[Answer], "list of answers")
read_lease_renewals: Unpacker[list[LeaseRenewal]] = Unpacker(list[LeaseRenewal], "list of lease renewals")
read_lease_answers: Unpacker[list[LeaseAnswer]] = Unpacker(list[LeaseAnswer], "list of lease answers")
read_put_part: Unpacker[PutPart] = Unpacker(PutPart, "result part")
read_read_parts: Unpacker[ReadParts] = Unpacker(ReadParts, "request for parts")
read_parts: Unpacker[list[bytes]] = Unpacker(list[bytes], "list of parts")
read_gateway_poll: Unpacker[GatewayPoll] = Unpacker(GatewayPoll, "gateway poll")
read_finished_requests: Unpacker[FinishedRequests] = Unpacker(FinishedRequests, "list of finished requests")
read_verdict: Unpacker[Verdict] = Unpacker(Verdict, "verdict")
