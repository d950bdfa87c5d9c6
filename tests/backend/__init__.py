"""Contract suites are imported, not collected; their assertions should explain themselves all the same."""

import pytest

pytest.register_assert_rewrite("tests.backend.broker.contract_broker", "tests.backend.cache.contract_cache")
