"""All mutations, by the part of the protocol that they break."""

from __future__ import annotations

from tests.mutations.leases import LEASES, TOKENS
from tests.mutations.outages import OUTAGES
from tests.mutations.requests import OFFERS, REQUESTS_AND_RESULTS

MUTATIONS = (*TOKENS, *LEASES, *OUTAGES, *OFFERS, *REQUESTS_AND_RESULTS)
