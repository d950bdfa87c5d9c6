from roost.gateway.io.batch import Cells, Found, Frames, Written
from roost.gateway.io.poller import Ready
from roost.gateway.websocket.frames import Parser

OPEN: int
MAX_READ_BYTES: int

def read_messages(
    ready: list[Ready], size: int, limit: int, cells: Cells, parsers: dict[int, Parser], now: int, /
) -> Found: ...
def write_frames(frames: Frames, /) -> Written: ...
