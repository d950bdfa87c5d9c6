"""Real sites to crawl, and an independent reference for what a crawl of them must find.

`serve` runs the standard library's static server on its own port. `breadth_first` reads the files, not the server, with
the standard library's HTML parser and URL functions; it shares no code with the crawler.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

_UNPACKED = Path(__file__).parents[2] / "build/sites/usr/share/doc"
_DOC = _UNPACKED if _UNPACKED.exists() else Path("/usr/share/doc")
POSTGRESQL = _DOC / "postgresql-doc-15/html"
SQLITE = _DOC / "sqlite3"
"""From the packages postgresql-doc-15 and sqlite3-doc (`tools/setup-tests`); their start pages are ``index.html``."""

_MORE = Path(__file__).parents[2] / "build/more-sites/usr/share/doc"
PYTHON = _MORE / "python3.11/html"
APACHE = _MORE / "apache2-doc/manual/en"
GIT = _MORE / "git/html"
"""From python3.11-doc, apache2-doc and git-doc, which are only unpacked."""

URL_TESTS = next(Path(__file__).parents[2].glob("build/urls/**/urltestdata.json"), Path("urltestdata.json"))
"""The URL standard's test data, unpacked by `tools/setup-tests`."""

PROTEGO = Path(__file__).parents[2] / "build/protego/tests"
"""Protego's own tests, and the robots.txt of 4,000 sites in ``test_data``; from its sources, by `tools/setup-tests`."""


def level_sizes(folder: Path, depth: int = 2) -> tuple[int, ...]:
    """Return the number of URLs in each level by `breadth_first`; they differ slightly between versions of a
    package.
    """
    sizes = tuple(map(len, breadth_first(folder, "index.html", depth)))
    assert sum(sizes) > 500, f"{folder} is not the whole site"
    return sizes


_HOST = "http://site.test/"


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def list_directory(self, path: Any) -> None:
        """Answer 404 for a folder without an index, instead of a list of links."""
        self.send_error(404)

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of clients that disconnect early."""


@contextmanager
def serve(folder: Path, address: str = "127.0.0.1") -> Iterator[str]:
    """Serve the folder's files at the yielded URL, which ends with a slash."""
    server = _Server((address, 0), partial(_Handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def breadth_first(folder: Path, start: str, depth: int) -> list[list[str]]:
    """Return the levels of URLs relative to the folder, without links to other hosts; broken targets count."""
    levels, seen = [[start]], {start}
    while len(levels) <= depth and levels[-1]:
        level = []
        for page in levels[-1]:
            for url in _links(folder, page):
                if url not in seen:
                    seen.add(url)
                    level.append(url)
        levels.append(level)
    return levels


def own_levels(levels: list[list[str]], site: str) -> list[list[str]]:
    """Return a crawl's levels in the form of `breadth_first`."""
    return [[url.removeprefix(site) for url in level if url.startswith(site)] for level in levels]


def _links(folder: Path, page: str) -> Iterator[str]:
    file = folder / unquote(urlsplit(page).path)
    file = file / "index.html" if file.is_dir() else file
    if file.suffix not in (".html", ".htm") or not file.is_file():
        return
    for reference in _References(file.read_text("utf-8", "replace")).found:
        written = reference.strip().replace("\\", "/")  # as browsers take it; urljoin does not
        url = urljoin(_HOST + page, written).partition("#")[0]
        if url.startswith(_HOST):
            yield url.removeprefix(_HOST)


class _References(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the links."""
        if tag in ("a", "area"):
            self.found.extend(value or "" for name, value in attrs if name == "href")
