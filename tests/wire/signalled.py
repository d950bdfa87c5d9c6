"""A process for `test_service`: says each step of its life on standard output. Arguments: how it misbehaves."""

from __future__ import annotations

import asyncio
import sys

from roost.wire.service import ServiceGroup, run


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


class Spoken:
    """A part that says what it does, and hangs or fails where the arguments say so."""

    def __init__(self, name: str, *habits: str) -> None:
        self._name, self._habits = name, habits

    async def start(self) -> None:
        await self._do("start")

    async def drain(self) -> None:
        await self._do("drain")

    async def stop(self) -> None:
        await self._do("stop")

    async def _do(self, step: str) -> None:
        say(f"{self._name} {step}")
        if f"{step}-hangs" in self._habits:
            await asyncio.Event().wait()
        if f"{step}-fails" in self._habits:
            raise RuntimeError(f"{step} fails")


if __name__ == "__main__":
    run(ServiceGroup([Spoken("low"), Spoken("high", *sys.argv[1:])]), on_ready=lambda: say("ready"))
    say("over")
