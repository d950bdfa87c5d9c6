"""Whether the gateway uses the C extensions of its hot paths, or the equivalent Python code.

Two hot paths exist in both forms: `roost.gateway.io.batch`, and `read_head` of `roost.gateway.websocket.handshake`.
Property tests check that both forms behave alike. The Python code is used where no C compiler was found at
installation, and where ``ROOST_NO_EXTENSIONS=1`` is set. Messages and connections then cost more processor time;
nothing else changes.
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
