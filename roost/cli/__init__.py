"""The entry point of the ``roost`` command.

It imports the commands, which takes long, only after two preparations: Ctrl-C ends the process without a traceback, and
closed standard streams are opened, so that no later file gets their descriptors.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line of `roost.cli.commands`. Ctrl-C during its import ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from roost.cli.streams import open_standard_streams

    open_standard_streams()
    from roost.cli.commands import app

    app()
