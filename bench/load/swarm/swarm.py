"""The state that all users in one process share: the phase of the test, their counters, and the list of users."""

from __future__ import annotations

import secrets
from typing import Protocol

from bench.load.swarm.counters import Counters
from bench.load.swarm.phases import JOBLESS, Phase

EVERYBODY = "all"
"""Stands for the clients of all gateways, instead of a gateway's URL."""


class Guest(Protocol):
    """The interface of a user that a storm needs."""

    @property
    def gateway(self) -> str:
        """The URL of its gateway."""

    def cut(self) -> None:
        """Simulate a network failure."""


class Swarm:
    """The users of this process, what they have seen, and which phase of the test it is."""

    def __init__(self, room: int) -> None:
        self.name = secrets.token_hex(4)
        self.guests: set[Guest] = set()
        self.phase = Phase.RAMP
        self._room = room
        self.tally = Counters(room=room)

    @property
    def wants_jobs(self) -> bool:
        """Whether users submit any in this phase."""
        return self.phase not in JOBLESS

    def label(self, name: str, began: Phase) -> str:
        """Return the label of a request that began in phase `began` and has just ended: those outside calm phases are
        listed apart.
        """
        disturbed = next((phase for phase in (self.phase, began) if phase in (Phase.STORM, Phase.OUTAGE)), None)
        return name if disturbed is None else f"{name}: {disturbed}"

    def begin(self) -> None:
        """Reset for a new test."""
        self.phase, self.tally = Phase.RAMP, Counters(room=self._room)

    def enter(self, phase: Phase) -> None:
        """Enter a phase."""
        self.phase = phase
        self.tally.quiet = int(not self.wants_jobs)

    def storm(self, gateway: str) -> None:
        """Cut the connections of all users at this gateway, or of all users; they come back by themselves."""
        for guest in list(self.guests):
            if gateway in (EVERYBODY, guest.gateway):
                guest.cut()
        self.tally.storms += 1
