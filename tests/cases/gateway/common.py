"""Shared by the cases: starts a gateway on a free port above 20000, speaks raw bytes to it."""

import base64, contextlib, os, random, shlex, signal, socket, ssl, struct, subprocess, sys, tempfile, time

PY = os.environ.get("ROOST_PY", sys.executable)
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.environ.get("ROOST_ROOT", os.getcwd())
LOGS = tempfile.mkdtemp()


def free_port():
    while True:
        p = random.randint(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", p))
                return p
            except OSError:
                pass


class Proc:
    def __init__(self, p, port, out):
        self.p, self.port, self.out = p, port, out

    def text(self):
        return open(self.out).read()


@contextlib.contextmanager
def gateway(*args, app="caseapps:Echo", env=None, wait=True, port=None, prefix=(), kill=signal.SIGKILL):
    port = port or free_port()
    out = f"{LOGS}/gw{port}.log"
    e = {k: v for k, v in os.environ.items() if not k.startswith("ROOST_")}
    e["PYTHONPATH"] = f"{ROOT}:{HERE}"
    e.update(env or {})
    cmd = [
        *prefix,
        *shlex.split(os.environ.get("ROOST_GATEWAY", f"{PY} -m gateway")),
        "--app",
        app,
        "--port",
        str(port),
        *(() if "--discovery" in args else ("--no-discovery",)),
        *args,
    ]
    with open(out, "w") as f:
        p = subprocess.Popen(cmd, stdout=f, stderr=subprocess.STDOUT, env=e, cwd=LOGS)
    pr = Proc(p, port, out)
    try:
        if wait:
            for _ in range(200):
                if "capacity" in pr.text() or p.poll() is not None:
                    break
                time.sleep(0.05)
        yield pr
    finally:
        if p.poll() is None:
            p.send_signal(kill)
            try:
                p.wait(15)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()


KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def req(
    target="/",
    host="h",
    version="HTTP/1.1",
    extra=(),
    connection="Upgrade",
    upgrade="websocket",
    wsv="13",
    method="GET",
    key=KEY,
):
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    if upgrade is not None:
        lines.append(f"Upgrade: {upgrade}")
    if connection is not None:
        lines.append(f"Connection: {connection}")
    if key is not None:
        lines.append(f"Sec-WebSocket-Key: {key}")
    if wsv is not None:
        lines.append(f"Sec-WebSocket-Version: {wsv}")
    lines += list(extra)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def connect(port, host="127.0.0.1", timeout=5):
    s = socket.create_connection((host, port), timeout=timeout)
    return s


def read_head(s, timeout=5):
    s.settimeout(timeout)
    d = b""
    while b"\r\n\r\n" not in d:
        try:
            c = s.recv(65536)
        except (TimeoutError, ConnectionResetError) as x:
            return d + f"<{type(x).__name__}>".encode()
        if not c:
            return d + b"<EOF>"
        d += c
    return d


def status(d):
    try:
        return int(d.split(b" ")[1])
    except Exception:
        return None


def frame(op, payload=b"", fin=True, rsv=0, mask=True, lenform=None):
    b0 = (0x80 if fin else 0) | (rsv << 4) | op
    n = len(payload)
    m = 0x80 if mask else 0
    if lenform == 8 or (lenform is None and n > 65535):
        h = struct.pack("!BBQ", b0, m | 127, n)
    elif lenform == 2 or (lenform is None and n > 125):
        h = struct.pack("!BBH", b0, m | 126, n)
    else:
        h = struct.pack("!BB", b0, m | n)
    if not mask:
        return h + payload
    k = os.urandom(4)
    kk = (k * (n // 4 + 1))[:n]
    x = (int.from_bytes(payload, "big") ^ int.from_bytes(kk, "big")).to_bytes(n, "big") if n else b""
    return h + k + x


class Reader:
    def __init__(self, s, rest=b""):
        self.s, self.b = s, rest

    def need(self, n, t):
        self.s.settimeout(t)
        while len(self.b) < n:
            c = self.s.recv(65536)
            if not c:
                raise EOFError
            self.b += c
        r, self.b = self.b[:n], self.b[n:]
        return r

    def frame(self, t=5):
        """The next frame; the gateway's own empty pings are passed over."""
        while True:
            f = self._frame(t)
            if f[:2] != (9, b""):
                return f

    def _frame(self, t=5):
        a, b = self.need(2, t)
        n = b & 0x7F
        if n == 126:
            n = struct.unpack("!H", self.need(2, t))[0]
        elif n == 127:
            n = struct.unpack("!Q", self.need(8, t))[0]
        return a & 0x0F, self.need(n, t), bool(a & 0x80), (a >> 4) & 7


def ws(port, target="/", extra=(), host="127.0.0.1", **k):
    s = connect(port, host)
    s.sendall(req(target, extra=extra, **k))
    d = read_head(s)
    assert status(d) == 101, d
    return s, Reader(s, d.split(b"\r\n\r\n", 1)[1]), d


def closed(fr):
    op, p, *_ = fr
    assert op == 8, fr
    return (int.from_bytes(p[:2], "big"), p[2:].decode()) if p else (1005, "")


def verdict(ok, note=""):
    print(("PASS " if ok else "FAIL ") + str(note))
    sys.exit(0 if ok else 1)
