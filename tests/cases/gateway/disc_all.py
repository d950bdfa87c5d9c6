"""Discovery as a process, and raw questions to it."""

import json, urllib.request
from common import *


def raw(port, data):
    s = connect(port)
    s.sendall(data)
    s.settimeout(2)
    d = b""
    try:
        while c := s.recv(65536):
            d += c
            if b"\r\n\r\n" in d and b"content-length" in d.lower():
                h, b = d.split(b"\r\n\r\n", 1)
                if h.startswith(b"HTTP/1.1 100"):
                    d = b
                    continue
                n = int([l for l in h.split(b"\r\n") if l.lower().startswith(b"content-length")][0].split(b":")[1])
                if len(b) >= n:
                    break
    except OSError:
        pass
    return d


@contextlib.contextmanager
def discovery(port=None, env=None, args=()):
    port = port or free_port()
    out = f"{LOGS}/d{port}.log"
    e = {
        **{k: v for k, v in os.environ.items() if not k.startswith("ROOST_")},
        "ROOST_KEYS": "k:0123456789abcdef0123456789abcdef",
        "PYTHONPATH": f"{ROOT}:{HERE}",
        **(env or {}),
    }
    p = subprocess.Popen(
        [*shlex.split(os.environ.get("ROOST_DISCOVERY", f"{PY} -m discovery")), "--port", str(port), *args],
        stdout=open(out, "w"),
        stderr=subprocess.STDOUT,
        env=e,
        cwd=LOGS,
    )
    for _ in range(100):
        try:
            connect(port).close()
            break
        except OSError:
            time.sleep(0.05)
    try:
        yield Proc(p, port, out)
    finally:
        p.kill()
        p.wait()


KEYS = {"ROOST_KEYS": "k:0123456789abcdef0123456789abcdef"}
