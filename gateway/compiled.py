"""Whether what exists twice, in Python and in C, is used as compiled.

That is what every message and every connection passes: `roost.gateway.io.batch`, and `read_head` of
`roost.gateway.websocket.handshake`. Both forms behave alike; property tests say so. Where no C compiler was at hand the
compiled ones are missing, and ``ROOST_NO_EXTENSIONS=1`` leaves them alone: then messages and connections take more
processor time, and nothing else is different.
"""

from __future__ import annotations

import os


def _is_compiled() -> bool:
    if os.environ.get("ROOST_NO_EXTENSIONS"):
        return False
    try:
        from roost.gateway.io import _batch  # noqa: F401
        from roost.gateway.websocket import _head  # noqa: F401
    except ImportError:
        return False
    return True


is_compiled = _is_compiled()
