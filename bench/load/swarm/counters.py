"""What the users of a process observed, as counters that are summed over processes and sent as one message. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Counters:
    """The counters of one process, or of several together."""

    room: int = 0
    """How many users the processes have descriptors for."""
    connected: Counter[str] = field(default_factory=Counter)
    """Users with a welcomed connection, by the URL of their gateway."""
    opened: int = 0
    """Welcomes received."""
    moved: int = 0
    """Welcomes after a `move`."""
    cut: int = 0
    """Connections cut by a storm of this test."""
    storms: int = 0
    """Storms that were carried out, counted by each process."""
    quiet: int = 0
    """Processes whose users know that no more jobs are wanted."""
    lost: Counter[str] = field(default_factory=Counter)
    """Connections that ended in another way, by phase and close code."""
    refused: Counter[str] = field(default_factory=Counter)
    """Failed connection attempts, by reason."""
    dismissed: int = 0
    """Users that received a close code after which they must not reconnect."""
    submitted: int = 0
    answered: int = 0
    """Jobs with a complete result."""
    failed: Counter[str] = field(default_factory=Counter)
    """Jobs that ended in another way, by outcome."""

    @property
    def connected_count(self) -> int:
        """The number of users with a welcomed connection."""
        return self.connected.total()

    @property
    def unanswered(self) -> int:
        """The number of jobs in flight."""
        return self.submitted - self.answered - self.failed.total()

    def lost_in(self, phase: str) -> int:
        """Return how many connections ended in this phase."""
        return sum(count for name, count in self.lost.items() if name.partition(" ")[0] == phase)

    def fullest(self) -> str:
        """Return the gateway with the most users; empty when no user is connected."""
        return max(self.connected, key=lambda url: (self.connected[url], url), default="")

    def as_message(self) -> dict[str, Any]:
        """Return plain values for a message."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Self:
        """Read a message. Raises TypeError for a message of another version."""
        plain: dict[str, Any] = {
            name: Counter(value) if isinstance(value, dict) else value for name, value in message.items()
        }
        return cls(**plain)

    @classmethod
    def sum(cls, several: Iterable[Self]) -> Self:
        """Return the sums over several processes."""
        total = cls()
        for one in several:
            for name, value in vars(one).items():
                setattr(total, name, getattr(total, name) + value)
        return total
