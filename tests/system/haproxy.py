"""A real HAProxy in a network namespace of its own: a balancer on another address, with TLS in front of a gateway.

A pair of virtual interfaces joins the namespace to this one, in a network of the range for benchmarks (RFC 2544). The
namespace and the pair go with HAProxy's process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.support.services import START_S, Service, need
from tests.gateway.io.test_tls import make_certificate

PORT = 8443
CLIENTS = ("21", "22")
"""Last parts of the addresses that clients call from."""

CONFIGURATION = """
global
  maxconn 4000
defaults
  timeout connect 30s
  timeout client 90s
  timeout server 90s
  timeout tunnel 600s
frontend clients
  mode {mode}
  bind {address}:{port} ssl crt {folder}/both.pem
  default_backend gateway
backend gateway
  mode {mode}
  {forward}
  server one {gateway}:{gateway_port} {send}
"""


class HaProxy(Service):
    """Ends TLS, and passes clients on to the gateway at `gateway_address` and `gateway_port`.

    It says who the client is by the PROXY protocol, or with `forwards` by X-Forwarded-For.
    """

    def __init__(self, gateway_port: int, *, forwards: bool) -> None:
        super().__init__("haproxy")
        self._outside = f"roost{self.port}"
        network = f"198.18.{self.port % 256}"
        self.address, self.gateway_address = f"{network}.2", f"{network}.1"
        self.client_addresses = [f"{network}.{last}" for last in CLIENTS]
        self.certificate, key = make_certificate(self.folder)
        (self.folder / "both.pem").write_text(Path(self.certificate).read_text() + Path(key).read_text())
        (self.folder / "haproxy.cfg").write_text(
            CONFIGURATION.format(
                mode="http" if forwards else "tcp",
                address=self.address,
                port=PORT,
                folder=self.folder,
                forward="option forwardfor" if forwards else "",
                gateway=self.gateway_address,
                gateway_port=gateway_port,
                send="" if forwards else "send-proxy-v2",
            )
        )

    def command(self) -> list[str]:
        has_link = f"ip addr show inside 2>/dev/null | grep -q {self.address}"
        script = f"until {has_link}; do sleep 0.05; done; exec haproxy -db -f {self.folder}/haproxy.cfg"
        return ["unshare", "--net", "sh", "-c", script]

    def launch(self) -> None:
        super().launch()
        ours, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{self.pid}/ns/net")
        deadline = time.monotonic() + START_S
        while theirs.readlink() == ours.readlink():
            assert time.monotonic() < deadline, "it has no namespace of its own"
            time.sleep(0.01)
        for words in (
            f"ip link add {self._outside} type veth peer name inside netns {self.pid}",
            f"ip addr add {self.gateway_address}/24 dev {self._outside}",
            *(f"ip addr add {address}/24 dev {self._outside}" for address in self.client_addresses),
            f"ip link set {self._outside} up",
            f"nsenter --target {self.pid} --net ip link set lo up",
            f"nsenter --target {self.pid} --net ip link set inside up",
            f"nsenter --target {self.pid} --net ip addr add {self.address}/24 dev inside",
        ):
            subprocess.run(words.split(), check=True)

    def answers(self) -> bool:
        with socket.create_connection((self.address, PORT), timeout=1.0):
            return True

    def kill(self) -> None:
        super().kill()
        with contextlib.suppress(subprocess.CalledProcessError):  # it went with the namespace, at once or soon
            subprocess.run(["ip", "link", "del", self._outside], check=True, capture_output=True)


@contextmanager
def haproxy(gateway_port: int, *, forwards: bool = False) -> Iterator[HaProxy]:
    """HAProxy, listening; without root or its packages the test is skipped."""
    if os.geteuid():
        pytest.skip("a network namespace needs root")
    for program, package in (("haproxy", "haproxy"), ("ip", "iproute2"), ("openssl", "openssl")):
        need(shutil.which(program) is not None, package)
    balancer = HaProxy(gateway_port, forwards=forwards)
    try:
        balancer.start()
        yield balancer
    finally:
        balancer.kill()
