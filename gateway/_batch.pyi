from gateway.batch import Cells, Found, Frames, Written
from gateway.frames import Parser
from gateway.poller import Ready

OPEN: int
MAX_READ_BYTES: int

def read_messages(
    ready: list[Ready], size: int, limit: int, cells: Cells, parsers: dict[int, Parser], now: int, /
) -> Found: ...
def write_frames(frames: Frames, /) -> Written: ...
