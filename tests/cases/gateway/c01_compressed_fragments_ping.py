"""A pong between the fragments of a compressed binary message (RFC 6455 5.4): the application gets raw deflate bytes."""

import zlib
from common import *

z = lambda m: (lambda c: (c.compress(m) + c.flush(zlib.Z_SYNC_FLUSH))[:-4])(zlib.compressobj(9, zlib.DEFLATED, -15))
with gateway("--compression") as g:
    s, r, d = ws(g.port, extra=["Sec-WebSocket-Extensions: permessage-deflate"])
    m = os.urandom(200).hex().encode()
    b = z(m)
    s.sendall(frame(2, b[:50], fin=False, rsv=4) + frame(10) + frame(0, b[50:]))
    f = r.frame()
    while f[0] == 9:
        f = r.frame()
    verdict(f[1] == m, f"sent {len(m)} bytes, the echo has {len(f[1])}: {f[1][:12]!r}")
