"""python -m gateway --host 0.0.0.0 --discovery …, no --public-url: clients are told ws://0.0.0.0:PORT (roost gateway refuses)."""

import json
from common import *
from disc_all import discovery, KEYS, raw

with discovery() as d, gateway("--discovery", f"http://127.0.0.1:{d.port}", "--host", "0.0.0.0", env=KEYS) as g:
    if g.p.poll() is not None:
        verdict(True, g.text()[-100:])
    time.sleep(2)
    u = json.loads(raw(d.port, b"GET /v1/gateway HTTP/1.1\r\nHost: h\r\n\r\n").split(b"\r\n\r\n", 1)[1])["url"]
    verdict("0.0.0.0" not in u, u)
