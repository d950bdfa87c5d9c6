"""A network namespace in which every address answers, to see which ones a crawl connects to.

It is run as ``unshare --net --mount python -m tests.kinds.crawl.fetch.jail``.

In a network namespace of its own every IPv4 and IPv6 address is made local (ip-route(8), type local), so that one
listener gets whatever is sent to any of them, and knows which one was meant. Names come from a DNS server of its own:
``v4-…`` and ``v6-…`` have the address that the rest of the label writes in hexadecimal; ``rebind-…`` is public when it
is asked for the first time and that address from then on.

Prints JSON: how each URL ended, the addresses that were dialled; and the same where everything is allowed, for some.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import cast

from roost.backend.kinds.crawl.fetch.public_addresses import REFUSED
from roost.backend.kinds.crawl.operator_options import CrawlOptions
from roost.backend.kinds.crawl.urls import Scope, parse
from tests.kinds.crawl.crawling import runners, visit

PORT, OTHER_PORT = 8080, 8081
PUBLIC = "1.1.1.1"
ELSEWHERE = [
    "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::8.8.8.8",
    "64:ff9b::10.0.0.1", "64:ff9b:1::1", "100::1", "2001::1", "2002:7f00:1::", "2002:808:808::", "3fff::1",
    "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "192.0.0.8", "169.254.169.254",
    "168.63.129.16",
]  # fmt: skip
"""What the table of refused ranges does not list one by one."""

DIALLED_IF_ALLOWED = ("10.0.0.0", "127.9.9.9", "169.254.169.254", "192.168.0.0", "::1", "fc00::1", "2002:808:808::")

Address = IPv4Address | IPv6Address


def addresses() -> list[Address]:
    """Both ends of each refused range, and what is special besides."""
    ends = [network[place] for network, _ in REFUSED for place in (0, -1)]
    return list(dict.fromkeys([*ends, *map(ip_address, ELSEWHERE)]))


def ways_to(address: Address) -> dict[str, str]:
    """URLs that lead to this address."""
    literal = f"[{address}]" if address.version == 6 else str(address)
    label = f"v{address.version}-{address.packed.hex()}"
    return {
        "literal": f"http://{literal}:{PORT}/",
        "name": f"http://{label}.test:{PORT}/",
        "redirect": f"http://{PUBLIC}:{PORT}/to/{label}",
        "rebinding": f"http://rebind-{label}.test:{PORT}/again",
    }


class Names(asyncio.DatagramProtocol):
    """A name server (RFC 1035) that knows only names which say their address."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        label, end = data[13 : 13 + data[12]].decode(), data.index(b"\0", 12) + 5
        is_v6 = data[end - 3] == 28
        found = self._find(label, is_v6)
        answer = (
            b"\xc0\x0c" + data[end - 4 : end] + b"\0\0\0\0" + len(found).to_bytes(2, "big") + found if found else b""
        )
        counts = b"\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0"
        self._transport.sendto(data[:2] + b"\x85\x80" + counts + data[12:end] + answer, addr)

    def _find(self, label: str, is_v6: bool) -> bytes:
        public = ip_address(PUBLIC)
        if label.startswith("rebind-") and label not in self._asked:
            if not is_v6:
                self._asked.add(label)
            return b"" if is_v6 else public.packed
        version, _, digits = label.removeprefix("rebind-").partition("-")
        return bytes.fromhex(digits) if version == ("v6" if is_v6 else "v4") else b""


class Listener:
    """Serves a page at every address, and notes at which; nothing is kept open, so that each page is dialled anew."""

    def __init__(self) -> None:
        self.dialled: set[str] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here = ip_address(writer.get_extra_info("sockname")[0].partition("%")[0])
        self.dialled.add(str(getattr(here, "ipv4_mapped", None) or here))
        request = await reader.readuntil(b"\r\n\r\n")
        path = request.split(b" ")[1].decode()
        head, body = "200 OK\r\nContent-Type: text/html", "<a href=/next>next</a>"
        if path == "/robots.txt":
            head, body = "404 Not Found", ""
        elif path.startswith("/to/"):
            digits = bytes.fromhex(path.rpartition("-")[2])
            target = ways_to(ip_address(digits))["literal"]
            head, body = f"302 Found\r\nLocation: {target}", ""
        elif path == "/again":
            name = request.partition(b"Host: ")[2].partition(b":")[0].decode()
            head, body = f"302 Found\r\nLocation: http://{name}:{OTHER_PORT}/", ""  # where the name is asked for anew
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        writer.close()


async def look(options: CrawlOptions, at: list[Address]) -> dict[str, object]:
    """Visit these addresses in every way; how each ended, and what was dialled."""
    listener = Listener()
    ended = {}
    async with (
        await asyncio.start_server(listener.answer, None, PORT),
        await asyncio.start_server(listener.answer, None, OTHER_PORT),
        runners(options=options) as workers,
    ):
        for address in at:
            for url in map(parse, ways_to(address).values()):
                if url is not None:
                    ended[url] = (await visit(workers, url, scope=Scope.ANY)).reason
    return {"ended": ended, "dialled": sorted(listener.dialled)}


def prepare() -> None:
    """Make every address local, and this the only name server."""
    for words in (
        "ip link set lo up",
        "ip route add local 0.0.0.0/0 dev lo",
        "ip -6 route add local ::/0 dev lo",
    ):
        subprocess.run(words.split(), check=True)
    for path, text in (("/etc/resolv.conf", "nameserver 127.0.0.1\n"), ("/etc/nsswitch.conf", "hosts: dns\n")):
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(text)
        subprocess.run(["mount", "--bind", file.name, path], check=True)


async def main() -> None:
    """As an operator has it by default; then, to see that what is dialled is noticed, with everything allowed."""
    await asyncio.get_running_loop().create_datagram_endpoint(Names, ("127.0.0.1", 53))
    found = {
        "refused": await look(CrawlOptions(), addresses()),
        "allowed": await look(CrawlOptions(("0.0.0.0/0", "::/0")), list(map(ip_address, DIALLED_IF_ALLOWED))),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    prepare()
    asyncio.run(main())
