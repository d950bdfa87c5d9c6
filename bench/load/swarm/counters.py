"""What the users of a process have seen, as counts that add up over processes and travel as one message. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Counters:
    """Of one process, or of several together."""

    room: int = 0
    """Users that the processes have descriptors for."""
    connected: Counter[str] = field(default_factory=Counter)
    """Users that are welcome now, by the URL of their gateway."""
    opened: int = 0
    """Welcomes so far."""
    moved: int = 0
    """Of these, those after a `move`."""
    cut: int = 0
    """Connections that a storm of ours has ended."""
    storms: int = 0
    """Storms that were carried out, counted by each process."""
    quiet: int = 0
    """Processes whose users have heard that no more jobs are wanted."""
    lost: Counter[str] = field(default_factory=Counter)
    """Connections that ended otherwise, by phase and close code."""
    refused: Counter[str] = field(default_factory=Counter)
    """Tries that brought no connection, by what was said."""
    dismissed: int = 0
    """Users that were told never to come back."""
    submitted: int = 0
    answered: int = 0
    """Jobs that came back done."""
    failed: Counter[str] = field(default_factory=Counter)
    """Jobs that ended otherwise, by how."""

    @property
    def connected_count(self) -> int:
        """Users that are welcome now."""
        return self.connected.total()

    @property
    def unanswered(self) -> int:
        """Jobs that are under way."""
        return self.submitted - self.answered - self.failed.total()

    def lost_in(self, phase: str) -> int:
        """Connections that ended in this phase."""
        return sum(count for name, count in self.lost.items() if name.partition(" ")[0] == phase)

    def fullest(self) -> str:
        """The gateway with most users; empty where nobody is connected."""
        return max(self.connected, key=lambda url: (self.connected[url], url), default="")

    def as_message(self) -> dict[str, Any]:
        """Plain values."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Self:
        """The reverse. Raises TypeError for what a process of another version sent."""
        plain: dict[str, Any] = {
            name: Counter(value) if isinstance(value, dict) else value for name, value in message.items()
        }
        return cls(**plain)

    @classmethod
    def sum(cls, several: Iterable[Self]) -> Self:
        """Those of several processes together."""
        total = cls()
        for one in several:
            for name, value in vars(one).items():
                setattr(total, name, getattr(total, name) + value)
        return total
