"""The crawl as a kind of job: implements `JobKind` with the modules of this folder."""

from __future__ import annotations

from hashlib import blake2b

from msgspec import structs

from roost.backend.kinds.api import ResultSharing, RunnerTools
from roost.backend.kinds.crawl.plan import CrawlPlan
from roost.backend.kinds.crawl.runner import CrawlRunner
from roost.backend.kinds.crawl.spec import CrawlSpec, read_spec, unpack_spec
from roost.wire.codec import pack

_KEY_BYTES = 16
_ANY_DEPTH, _ANY_AGE_S = 0, 0.0


class Crawl:
    """A web crawl by depth. `RunnerTools.options` is a `CrawlOptions`. See `roost.backend.kinds.api.JobKind`."""

    name = "crawl"

    def parse_spec(self, text: bytes) -> CrawlSpec:
        """Parse a client's JSON options. Raises BadInput: `bad_url` or `bad_spec`."""
        return read_spec(text)

    def pack_spec(self, spec: CrawlSpec) -> bytes:
        """Return the spec as msgpack."""
        return pack(spec)

    def unpack_spec(self, data: bytes) -> CrawlSpec:
        """Decode a packed spec. Raises DecodeError."""
        return unpack_spec(data)

    def sharing_keys(self, spec: CrawlSpec) -> ResultSharing:
        """Return the keys for sharing: a cached result serves every smaller depth, and every `max_age_s` for which it
        is young enough.
        """
        wide = structs.replace(spec, depth=_ANY_DEPTH, max_age_s=_ANY_AGE_S)
        return ResultSharing(
            run_key=self._hash(b"run", spec), cache_key=self._hash(b"cache", wide), max_age_s=spec.max_age_s
        )

    def timeout_s(self, spec: CrawlSpec) -> float:
        """Return the time limit of the client, one hour by default."""
        return spec.max_seconds

    def plan(self, spec: CrawlSpec, since: float) -> CrawlPlan:
        """Return a new plan. Pages that were cached `since` the job began (wall-clock seconds) count as fresh."""
        return CrawlPlan(spec, since=since)

    def runner(self, tools: RunnerTools) -> CrawlRunner:
        """Return a runner for one worker."""
        return CrawlRunner(tools)

    def _hash(self, use: bytes, spec: CrawlSpec) -> bytes:
        return blake2b(pack(spec), digest_size=_KEY_BYTES, person=self.name.encode(), salt=use).digest()
