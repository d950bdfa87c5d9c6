"""Very many idle clients, as locust users: ``locust -f bench/load/locustfile.py --host http://127.0.0.1:8000``.

``--host`` (or ROOST_SERVER) is the URL of discovery; several replicas are separated by commas. Users call discovery,
connect with their ticket, stay idle, answer pings, and now and then submit a job and wait for its result. The load
shape starts ``--users`` users at ``--spawn-rate`` users per second, keeps them connected for ``--hold-s``, cuts
connections if ``--storm`` is given, and ends the test.
bench/README.md shows how to use several processes and machines. The users themselves are in `bench.load.swarm`.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
sys.path.insert(0, ROOT)  # locust puts this folder first in sys.path, not the project
try:
    from bench.load.swarm.user import IdleClient as IdleClient
    from bench.load.swarm.user import Tides as Tides
finally:
    sys.path.remove(ROOT)
