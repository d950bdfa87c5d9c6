"""Private instances of the real engines, for tests: free ports on 127.0.0.1, temporary folders, gone with the test run.

Each is started when a test first asks for it, and then shared by all tests of the run. They come from Debian's packages
(`tools/setup-tests`); an instance of the system is never touched. Where a package is missing its tests are skipped, but
with ``CI=true`` they fail. `bench.support.reaper` ends everything, however the run ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar
from unittest import SkipTest

from bench.support.ports import IN_USE, PortTaken, elsewhere_if_taken
from bench.support.ports import LOOPBACK as LOOPBACK
from bench.support.ports import free_port as free_port
from bench.support.ports import say as say
from bench.support.reaper import reaper as reaper

START_S = 90.0
"""RabbitMQ needs 5 to 10 s on a quiet machine."""
FORBIDDEN = "ROOST_TESTS_WITHOUT_ENGINES"
"""A variable that lets no engine start: what needs one is not in ``make quick``."""
RABBITMQ_BIN = Path("/usr/lib/rabbitmq/bin")
POSTGRESQL = Path("/usr/lib/postgresql")


class ServiceError(Exception):
    """A service did not start, or its package is missing."""


class Service:
    """A server process in a folder of its own, that can be killed and started again at the same port."""

    def __init__(self, name: str, user: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"roost-{name}-"))
        reaper().tell("folder", self.folder)
        self.port = free_port()
        self._name, self._user = name, user
        self._process: subprocess.Popen[bytes] | None = None
        self._spawned: list[subprocess.Popen[bytes]] = []

    def command(self) -> list[str]:
        """Return the command line."""
        raise NotImplementedError

    def variables(self) -> Mapping[str, str]:
        """The environment, beside what this process has."""
        return {}

    def answers(self) -> bool:
        """Whether a client would be served. Raises OSError while nobody listens."""
        raise NotImplementedError

    def start(self) -> None:
        """Start, and return when it serves; raises ServiceError when it does not."""
        self.launch()
        self.wait_until_it_serves()

    def launch(self) -> None:
        """Start the process; call `wait_until_it_serves` next."""
        self._process = self.spawn(self.command())

    def wait_until_it_serves(self) -> None:
        """Wait until it serves; raises ServiceError when it does not, PortTaken when another server has its port."""
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while True:
            has_ended = self._process.poll() is not None
            with contextlib.suppress(OSError):
                if not has_ended and self.answers():
                    return
            if has_ended or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-2000:]
                if IN_USE.search(said):
                    raise PortTaken(f"{self._name} did not start, because its port is taken:\n{said}")
                raise ServiceError(f"{self._name} did not start:\n{said}")
            time.sleep(0.05)

    def is_launched(self) -> bool:
        """Whether it was ever started."""
        return self._process is not None

    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the started process; also that of its group and its session."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9, and wait until it is gone. Fine for one that has ended."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        reaper().tell("ended", self._process.pid)  # its number may soon be another's

    def terminate(self, within_s: float) -> int:
        """SIGTERM; its exit status. Raises TimeoutExpired when it does not end."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(within_s)
        reaper().tell("ended", self._process.pid)
        return status

    def freeze(self) -> None:
        """Suspend it until `thaw`: connections stay open, but nothing answers."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue after `freeze`."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process in its own group, which the reaper knows."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self.variables()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )
        reaper().tell("group", process.pid)
        self._spawned.append(process)
        return process

    def abandon(self) -> None:
        """End everything that was spawned; for a service that is not to be started again."""
        for process in self._spawned:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reaper().tell("ended", process.pid)

    @property
    def log(self) -> Path:
        """The file with its standard output and standard error."""
        return self.folder / "output.log"


class RabbitMq(Service):
    """One node, run directly, with a name server (epmd) of its own, unless it is told to share another's."""

    def __init__(self, epmd_port: int = 0) -> None:
        super().__init__("rabbitmq")
        self._dist_port, self.epmd_port = free_port(), epmd_port or free_port()
        self.node = f"roost{self.port}@localhost"
        self.url = f"amqp://guest:guest@{LOOPBACK}:{self.port}/"
        self._vhost_count = 0
        (self.folder / "enabled_plugins").write_text("[].")
        (self.folder / "rabbitmq.conf").write_text("disk_free_limit.absolute = 1MB\nlog.console = false\n")
        if not epmd_port:
            self._names = self.spawn(["epmd", "-port", str(self.epmd_port), "-address", LOOPBACK])

    def command(self) -> list[str]:
        return [str(RABBITMQ_BIN / "rabbitmq-server")]

    def variables(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": str(self.folder / "node.log"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # Without busy waiting, so that an idle node takes nothing from the tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def has_on_disk(self, queue: str) -> bool:
        """Whether a new quorum queue would outlive a kill of the node.

        Its name is written about a second after it was declared. Killed before that, the node comes back with a member
        that has forgotten who it is, and the queue never has a leader again (rabbitmq-server issue 15725; 3.10.8).
        """
        names = (self.folder / "data").glob("*/quorum/*/names.dets")
        return any(queue.encode() in file.read_bytes() for file in names)

    def vhost(self) -> str:
        """Create a virtual host with queues of its own; return its URL."""
        self._vhost_count += 1
        name = f"v{self._vhost_count}"
        make = f'rabbit_vhost:add(<<"{name}">>, <<"test">>)'
        words = ", ".join(f'<<"{word}">>' for word in ("guest", name, ".*", ".*", ".*", "test"))
        may = f"rabbit_auth_backend_internal:set_permissions({words})"
        command = [str(RABBITMQ_BIN / "rabbitmqctl"), "-q", "-n", self.node, "eval", f"{make}, {may}."]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **self.variables()})
        return f"{self.url}{name}"

    def answers(self) -> bool:
        return say(self.port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01\x00\x00")


class Redis(Service):
    """One server that writes nothing to disk."""

    def __init__(self) -> None:
        super().__init__("redis")
        self.url = f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        settings = {"port": str(self.port), "bind": LOOPBACK, "save": "", "dir": str(self.folder)}
        return ["redis-server", *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def answers(self) -> bool:
        return say(self.port, b"PING\r\n") == b"+PONG\r\n"


class Postgres(Service):
    """One server of the newest version there is. It refuses to run as root."""

    def __init__(self) -> None:
        super().__init__("postgresql", "postgres" if os.geteuid() == 0 else None)
        self._bin = newest_postgresql()
        self._database_count = 0
        (self.folder / "password").write_text("private")
        (self.folder / "data").mkdir(mode=0o700)
        if self._user is not None:
            for place in (self.folder, *self.folder.iterdir()):
                shutil.chown(place, self._user)
        words = f"-D {self.folder}/data -U roost -A scram-sha-256 --pwfile={self.folder}/password -E UTF8 --no-locale"
        made = self.spawn([f"{self._bin}/initdb", "--no-sync", *words.split()])
        if made.wait() != 0:
            raise ServiceError(f"initdb failed:\n{self.log.read_text(errors='replace')[-2000:]}")
        reaper().tell("ended", made.pid)

    def url(self, database: str, *more_hosts: str) -> str:
        """Return the URL of a database; `more_hosts` (``host:port``) stand before the server's own."""
        hosts = ",".join([*more_hosts, f"{LOOPBACK}:{self.port}"])
        return f"postgresql://roost:private@{hosts}/{database}"

    def database(self) -> str:
        """The name of a new, empty database."""
        self._database_count += 1
        name = f"test{self._database_count}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return name

    def sql(self, database: str, text: str) -> str:
        """Run SQL with psql; return its output."""
        command = [f"{self._bin}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text, self.url(database)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def command(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "64MB",
        }
        return [
            *(f"{self._bin}/postgres", "-D", f"{self.folder}/data"),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ]

    def kill(self) -> None:
        self.freeze()  # so that no backend is added meanwhile
        backends = self._signal_backends(signal.SIGKILL)
        super().kill()
        while any(state_of(backend) not in ("", "Z") for backend in backends):  # what they share must be free again
            time.sleep(0.005)

    def freeze(self) -> None:
        super().freeze()
        while self.is_running() and state_of(self.pid) != "T":
            time.sleep(0.001)
        self._signal_backends(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_backends(signal.SIGCONT)
        super().thaw()

    def _signal_backends(self, number: signal.Signals) -> list[int]:
        """Each is in a process group of its own, so it does not get what the server gets. Who got it."""
        signalled = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((process / "stat").read_text().rpartition(") ")[2].split()[1])
                if parent == self.pid:
                    os.kill(int(process.name), number)
                    signalled.append(int(process.name))
        return signalled

    def answers(self) -> bool:
        hello = b"\0\3\0\0user\0roost\0database\0postgres\0\0"
        return say(self.port, (len(hello) + 4).to_bytes(4, "big") + hello).startswith(b"R")


def newest_postgresql() -> Path:
    """Where its programs are."""
    return max(POSTGRESQL.glob("*/bin"), key=lambda folder: int(folder.parent.name))


S = TypeVar("S", bound=Service)


@cache
def rabbitmq() -> RabbitMq:
    """The run's RabbitMQ."""
    need((RABBITMQ_BIN / "rabbitmq-server").exists(), "rabbitmq-server")
    return started(RabbitMq)


@cache
def redis() -> Redis:
    """The run's Redis."""
    need(shutil.which("redis-server") is not None, "redis-server")
    return started(Redis)


@cache
def postgres() -> Postgres:
    """The run's PostgreSQL."""
    need(any(POSTGRESQL.glob("*/bin/initdb")), "postgresql")
    return started(Postgres)


def started(make: Callable[[], S]) -> S:
    """Return a new service that serves; it is made anew when it lost its port before it could listen."""

    def start() -> S:
        service = make()
        try:
            service.start()
        except PortTaken:
            service.abandon()
            raise
        return service

    return elsewhere_if_taken(start)


def need(is_there: bool, package: str) -> None:
    """Raise ServiceError in CI without what the package brings, elsewhere SkipTest, by which a test is skipped."""
    if os.environ.get(FORBIDDEN):
        raise ServiceError(f"{package} may not be started in a quick run: mark the test with pytest.mark.engines")
    if not is_there:
        text = f"needs a Debian package; as root: apt-get install --no-install-recommends {package}"
        raise ServiceError(text) if os.environ.get("CI") == "true" else SkipTest(text)


def state_of(pid: int) -> str:
    """The letter of proc(5): T is stopped, Z has ended and was not waited for; "" for a process that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return ""
