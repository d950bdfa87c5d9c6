"""A web server of raw bytes in threads, and one crawl by the command line: what the cases beside this file share.

Run a case as `ROOST=.venv/bin/roost python3 CASE.py`: it prints PASS or FAIL and what came.
"""

import json, os, socket, subprocess, sys, threading, time, gzip, zlib

ROOST = os.environ.get("ROOST", "roost")


class Site:
    """A raw web server in threads: answer(method, target, headers, site) gives the bytes to send (None: hang up)."""

    def __init__(self, answer, address="127.0.0.1", keep=False, port=0):
        self.answer, self.keep, self.asked, self.lock = answer, keep, [], threading.Lock()
        self.socket = socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=200
        )
        self.port = self.socket.getsockname()[1]
        self.host = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        self.url = f"http://{self.host}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        data = b""
        with connection:
            try:
                while True:
                    while b"\r\n\r\n" not in data:
                        more = connection.recv(65536)
                        if not more:
                            return
                        data += more
                    head, _, data = data.partition(b"\r\n\r\n")
                    lines = head.decode("latin-1").split("\r\n")
                    method, target, _ = lines[0].split(" ", 2)
                    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
                    with self.lock:
                        self.asked.append((method, target))
                    sent = self.answer(method, target, headers, self)
                    if sent is None:
                        return
                    connection.sendall(sent)
                    if not self.keep:
                        connection.shutdown(socket.SHUT_WR)
                        return
            except OSError:
                return

    def count(self, target, method=None):
        return sum(t == target and method in (None, m) for m, t in self.asked)


def reply(body=b"", *headers, status="200 OK", type="text/html; charset=utf-8", length=True):
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", *headers]
    if type is not None:
        lines.append(f"Content-Type: {type}")
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


MISSING = reply("gone", status="404 Not Found")


def crawl(url, *options, timeout=120, form="json"):
    """(exit code, result or text, what was said)."""
    done = subprocess.run(
        [
            ROOST,
            "crawl",
            url,
            "--allow-private",
            "127.0.0.0/8",
            "--allow-private",
            "::1/128",
            "--format",
            form,
            *options,
        ],
        capture_output=True,
        timeout=timeout,
    )
    out = done.stdout.decode("utf-8", "replace")
    if form == "json":
        try:
            out = json.loads(out)
        except ValueError:
            out = {"levels": [], "failed": [], "skipped": [], "raw": out}
    return done.returncode, out, done.stderr.decode("utf-8", "replace")


def verdict(passed, *said):
    print("PASS" if passed else "FAIL", *said)
    sys.exit(0 if passed else 1)
