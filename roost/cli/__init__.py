"""The console script: what must be set up before slow imports and before the first descriptor is opened."""

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
